use crate::device::*; use crate::error::*; use crate::dtype::*; use std::sync::Arc; use crate::plan::Plan;
#[derive(Debug)]
pub struct CpuBackend(Caps);
impl CpuBackend { pub fn new() -> Arc<CpuBackend> { Arc::new(CpuBackend(Caps{hardware:"".into(),driver:"".into(),software:true,dtypes:DType::ALL.to_vec(),max_buffers_per_kernel:64,max_buffer_bytes:1<<40,wide_bytes:false,notes:vec![]})) }
pub fn with_memory(_m: Arc<dyn MemoryManager>) -> Arc<CpuBackend> { Self::new() } }
impl Backend for CpuBackend { fn caps(&self)->&Caps{&self.0} fn allocate(&self,_:usize)->Result<Storage>{Err(Error::Invalid("stub".into()))}
fn write(&self,_:&Storage,_:DType,_:&[u8])->Result<()>{Ok(())} fn read(&self,_:&Storage,_:DType,_:usize,_:usize)->Result<Vec<u8>>{Err(Error::Invalid("stub".into()))}
fn compile(&self,_:Arc<Plan>)->Result<Box<dyn Executable>>{Err(Error::Invalid("stub".into()))} fn synchronize(&self)->Result<()>{Ok(())} fn memory(&self)->MemoryStats{MemoryStats::default()} }
