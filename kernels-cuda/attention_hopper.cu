// out = softmax(q·kᵀ·scale)·v for halves on Hopper's matrix units, which take their right operands straight from shared memory;
// see attention.cu for the rest. Blocks along x are heads, along y blocks of queries.
//
// Each group of four warps has 64 queries and makes its products by itself (wgmma); all groups share the keys and values.
// Tiles are columns of 64 numbers, 128 bytes, whose chunks change places as the matrix units expect it.

struct Forward {
    View q, k, v;
    Element *out;
    float *lse;
    int heads, share, queries, keys;
    float scale_log2;
};

#define PARTS (HEAD / 64)

// `count` rows from `first` on, zeros beyond `end`, as PARTS tiles of 64 columns.
template <int count>
INLINE void fetch_parts(u32 to, const Element *head, i64 stride, int first, int end) {
    const int rows = THREADS / CHUNKS, chunk = threadIdx.x % CHUNKS, mine = threadIdx.x / CHUNKS;
    const Element *from = head + (first + mine) * stride + chunk * 8;
#pragma unroll
    for (int i = 0; i < (count + rows - 1) / rows; i++) {
        int row = mine + i * rows;
        bool there = first + row < end;
        u32 at = to + chunk / 8 * count * 128 + row * 128 + ((chunk % 8 ^ row % 8) << 4);
        if (count % rows == 0 || row < count) copy16(at, there ? from + i * rows * stride : head, there);
    }
}

// How the matrix units find a tile: where it begins, how far apart its parts and its groups of eight rows are.
INLINE unsigned long long tile_at(u32 at, int parts) {
    return (unsigned long long)((at & 0x3ffff) >> 4) | (unsigned long long)(parts >> 4) << 16 |
           (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}

#if TYPE == 0
#define KIND "f32.f16.f16"
#else
#define KIND "f32.bf16.bf16"
#endif

#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(d, i) F4(d, i), F4(d, i + 4), F4(d, i + 8), F4(d, i + 12)
#define N32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define N64 N32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

// d (+)= a·b, a 64×16 and b 16×n, both tiles of rows of terms.
template <int n> struct Wide;
template <> struct Wide<64> {
    static INLINE void tiles(float *d, unsigned long long a, unsigned long long b, int more) {
        asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;"
                     "wgmma.mma_async.sync.aligned.m64n64k16." KIND " {" N32 "}, %32, %33, p, 1, 1, 0, 0;}"
                     : F16(d, 0), F16(d, 16)
                     : "l"(a), "l"(b), "r"(more));
    }
    static INLINE void rows(float *d, const u32 *a, unsigned long long b, int more) {
        asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0;"
                     "wgmma.mma_async.sync.aligned.m64n64k16." KIND " {" N32 "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;}"
                     : F16(d, 0), F16(d, 16)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more));
    }
    // The right operand has its terms along its rows.
    static INLINE void terms(float *d, const u32 *a, unsigned long long b) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16." KIND " {" N32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                     : F16(d, 0), F16(d, 16)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    }
};
template <> struct Wide<128> {
    static INLINE void tiles(float *d, unsigned long long a, unsigned long long b, int more) {
        asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0;"
                     "wgmma.mma_async.sync.aligned.m64n128k16." KIND " {" N64 "}, %64, %65, p, 1, 1, 0, 0;}"
                     : F16(d, 0), F16(d, 16), F16(d, 32), F16(d, 48)
                     : "l"(a), "l"(b), "r"(more));
    }
    static INLINE void rows(float *d, const u32 *a, unsigned long long b, int more) {
        asm volatile("{.reg .pred p; setp.ne.b32 p, %69, 0;"
                     "wgmma.mma_async.sync.aligned.m64n128k16." KIND " {" N64 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;}"
                     : F16(d, 0), F16(d, 16), F16(d, 32), F16(d, 48)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(more));
    }
    static INLINE void terms(float *d, const u32 *a, unsigned long long b) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16." KIND " {" N64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                     : F16(d, 0), F16(d, 16), F16(d, 32), F16(d, 48)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    }
};

INLINE void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

INLINE void products_end() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int left> INLINE void products_done() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory");
}

// Keeps the compiler from moving what a product still writes.
template <int count> INLINE void hold(float *d) {
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// What copies wrote must be seen by the matrix units.
INLINE void seen_by_products() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// The queries of a group of warps as left operands.
INLINE void keep_queries(u32 q[STEPS][4], u32 q_tile) {
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const int part = step / 4, chunk = step % 4 * 2 + lane / 16;
        matrices(q[step], q_tile + part * ROWS * 128 + row * 128 + ((chunk ^ row % 8) << 4));
    }
}

// The same for what a product reads.
template <int count> INLINE void hold(u32 *a) {
#pragma unroll
    for (int i = 0; i < count; i++) asm volatile("" : "+r"(a[i])::"memory");
}

INLINE void ask_scores(float *s, u32 q_tile, u32 q[STEPS][4], u32 k_tile) {
    hold<COLUMNS / 2>(s);
    if (KEEP) hold<STEPS * 4>(q[0]);
    products_begin();
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const int part = step / 4, in = step % 4 * 32;
#if KEEP
        Wide<COLUMNS>::rows(s, q[step], tile_at(k_tile + part * COLUMNS * 128 + in, 16), step > 0);
#else
        Wide<COLUMNS>::tiles(s, tile_at(q_tile + part * ROWS * 128 + in, 16), tile_at(k_tile + part * COLUMNS * 128 + in, 16),
                             step > 0);
#endif
    }
    products_end();
}

extern "C" __global__ void __launch_bounds__(THREADS) attention_hopper(const Forward p) {
    extern __shared__ __align__(1024) unsigned char memory[];
    const int tile = COLUMNS * ROW_BYTES;
    const u32 q_all = address(memory), k_tile = q_all + ROWS * ROW_BYTES, v_tile = k_tile + 2 * tile;
    const u32 q_tile = q_all + threadIdx.x / 128 * 64 * 128;
    const int batch = blockIdx.x / p.heads, head = blockIdx.x % p.heads;
    const int first = (CAUSAL ? gridDim.y - 1 - blockIdx.y : blockIdx.y) * ROWS;
    const Element *q = p.q.data + batch * p.q.batch + head * p.q.head;
    const Element *k = p.k.data + batch * p.k.batch + head / p.share * p.k.head;
    const Element *v = p.v.data + batch * p.v.batch + head / p.share * p.v.head;
    const int end = CAUSAL ? min(p.keys, first + ROWS) : p.keys;

    fetch_parts<ROWS>(q_all, q, p.q.row, first, p.queries);
    fetch_parts<COLUMNS>(k_tile, k, p.k.row, 0, p.keys);
    commit();
    arrived();
    seen_by_products();
    __syncthreads();
    fetch_parts<COLUMNS>(k_tile + tile, k, p.k.row, COLUMNS, p.keys);
    fetch_parts<COLUMNS>(v_tile, v, p.v.row, 0, p.keys);
    commit();

    float out[1][HEAD / 8][4], s[COLUMNS / 8][4], top[2] = {-INF, -INF}, sum[1][2] = {{0, 0}}, fade[2];
    u32 weights[COLUMNS / 16][4];
    clear(out);
    // Scores of the keys from `key` on become weights.
    auto weigh = [&](int key) {
        if (key + COLUMNS > p.keys || (CAUSAL && key + COLUMNS - 1 > first)) {
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int column = key + column_of(n, i);
                    if (column >= p.keys || (CAUSAL && column > first + row_of(0, i))) s[n][i] = -INF;
                }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = top[half];
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n++) most = fmaxf(most, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
            // Where nothing has been seen but -inf, it must not be subtracted from itself.
            float shift = most == -INF ? 0 : most * p.scale_log2;
            fade[half] = exp2_fast(fmaf(top[half], p.scale_log2, -shift));
            float more = 0;
#pragma unroll
            for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
                for (int i = half * 2; i < half * 2 + 2; i++) {
                    s[n][i] = exp2_fast(fmaf(s[n][i], p.scale_log2, -shift));
                    more += s[n][i];
                }
            top[half] = most;
            sum[0][half] = fmaf(sum[0][half], fade[half], more);
        }
    };
    auto keep = [&]() {
#pragma unroll
        for (int step = 0; step < COLUMNS / 16; step++) again(weights[step], s[step * 2], s[step * 2 + 1]);
    };
    auto ask_results = [&](u32 v_part) {
        hold<HEAD / 2>(out[0][0]);
        hold<COLUMNS / 4>(weights[0]);
        products_begin();
#pragma unroll
        for (int step = 0; step < COLUMNS / 16; step++)
            Wide<HEAD>::terms(out[0][0], weights[step], tile_at(v_part + step * 2048, COLUMNS * 128));
        products_end();
    };
    u32 rows[STEPS][4];
    if (KEEP) keep_queries(rows, q_tile);
    ask_scores(s[0], q_tile, rows, k_tile);
    products_done<0>();
    hold<COLUMNS / 2>(s[0]);
    weigh(0);
    keep();
    int key = 0, stage = 0;
    for (; key + COLUMNS < end; key += COLUMNS, stage ^= 1) {
        arrived();
        seen_by_products();
        __syncthreads();
        fetch_parts<COLUMNS>(k_tile + stage * tile, k, p.k.row, key + 2 * COLUMNS, p.keys);
        fetch_parts<COLUMNS>(v_tile + (stage ^ 1) * tile, v, p.v.row, key + COLUMNS, p.keys);
        commit();
        // The next scores first; while they become weights, these weights gather values.
        ask_scores(s[0], q_tile, rows, k_tile + (stage ^ 1) * tile);
        ask_results(v_tile + stage * tile);
        products_done<1>();
        hold<COLUMNS / 2>(s[0]);
        weigh(key + COLUMNS);
        products_done<0>();
        hold<HEAD / 2>(out[0][0]);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) out[0][n][i] *= fade[i / 2];
        keep();
    }
    arrived();
    seen_by_products();
    __syncthreads();
    ask_results(v_tile + stage * tile);
    products_done<0>();
    hold<HEAD / 2>(out[0][0]);

    float *lse = p.lse + (i64)blockIdx.x * p.queries;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float all = sum[0][half];
        all += __shfl_xor_sync(0xffffffff, all, 1);
        all += __shfl_xor_sync(0xffffffff, all, 2);
        int row = first + row_of(0, half * 2);
        if (threadIdx.x % 4 == 0 && row < p.queries)
            lse[row] = all == 0 ? -INF : top[half] * p.scale_log2 * LN2 + logf(all);
        sum[0][half] = all == 0 ? 0 : 1 / all;
    }
    Element *to = p.out + ((i64)batch * p.queries * p.heads + head) * HEAD;
    write(to, (i64)p.heads * HEAD, first, p.queries, out, sum);
}
