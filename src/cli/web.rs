//! `sunstone web`: hands the page in `web/dist` to a browser on this machine, and nothing to anyone else.
//!
//! The page is read from disk and not part of the program: else building the program would need a toolchain for
//! WebAssembly, and a page rebuilt by `web/build` would not be there at the next reload.

use super::output::line;
use clap::Args as ClapArgs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use sunstone::{Error, Result};

/// Bytes of a request that are read: no browser sends more for a file.
const LONGEST: u64 = 1 << 16;

/// How long a client may take to send or to receive.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(ClapArgs)]
pub struct Args {
    /// Where to listen on 127.0.0.1; 0 is any free port.
    #[arg(long, value_name = "N", default_value_t = 8088)]
    port: u16,
    /// The folder that `web/build` made [default: web/dist here, or beside the program].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Serves until the program is stopped.
pub fn run(args: &Args) -> Result<()> {
    let folder = find(args.dir.as_deref())?;
    let fail = |e: io::Error| Error::Invalid(format!("cannot listen on 127.0.0.1:{}: {e}", args.port));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).map_err(fail)?;
    let port = listener.local_addr().map_err(fail)?.port();
    line(&format!("http://127.0.0.1:{port}/  (Ctrl-C ends it)"));
    let folder = Arc::new(folder);
    for stream in listener.incoming().flatten() {
        let folder = folder.clone();
        std::thread::spawn(move || {
            // A browser that goes away in the middle is no fault.
            let _ = answer(stream, &folder);
        });
    }
    Ok(())
}

fn find(asked: Option<&Path>) -> Result<PathBuf> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("web"));
    let places = match asked {
        Some(dir) => vec![dir.to_owned()],
        None => [Some(PathBuf::from("web/dist")), beside()].into_iter().flatten().collect(),
    };
    let found = places.iter().find(|dir| dir.join("index.html").is_file());
    found.and_then(|dir| dir.canonicalize().ok()).ok_or_else(|| {
        let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        Error::Invalid(format!("there is no page in {}; make it with web/build", tried.join(" or ")))
    })
}

fn answer(mut stream: TcpStream, folder: &Path) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?.take(LONGEST));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    if !matches!(method, "GET" | "HEAD") {
        return reply(&mut stream, "405 Method Not Allowed", "text/plain", b"only GET and HEAD\n", true);
    }
    match path(target, folder).and_then(|path| Some((std::fs::read(&path).ok()?, path))) {
        Some((body, path)) => reply(&mut stream, "200 OK", kind(&path), &body, method == "GET"),
        None => reply(&mut stream, "404 Not Found", "text/plain", b"no such file\n", method == "GET"),
    }
}

/// The file that a request names, if it lies in the folder.
fn path(target: &str, folder: &Path) -> Option<PathBuf> {
    let target = target.split(['?', '#']).next()?.trim_start_matches('/');
    let relative = Path::new(if target.is_empty() { "index.html" } else { target });
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    // Links out of the folder are not followed either.
    let path = folder.join(relative).canonicalize().ok()?;
    (plain && path.starts_with(folder) && path.is_file()).then_some(path)
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("ts" | "md" | "txt") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// The two cross-origin headers isolate the page, which gives it finer clocks.
fn reply(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8], with_body: bool) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n\
         Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Embedder-Policy: require-corp\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if with_body {
        stream.write_all(body)?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_are_found() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("dist");
        std::fs::create_dir_all(folder.join("pkg")).unwrap();
        for file in ["index.html", "pkg/a.wasm", "../secret"] {
            std::fs::write(folder.join(file), file).unwrap();
        }
        let folder = folder.canonicalize().unwrap();
        assert_eq!(path("/", &folder), Some(folder.join("index.html")));
        assert_eq!(path("/pkg/a.wasm?v=1", &folder), Some(folder.join("pkg/a.wasm")));
        for bad in ["/../secret", "/pkg/../../secret", "//etc/passwd", "/missing", "/pkg", "/./../secret"] {
            assert_eq!(path(bad, &folder), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_has_the_type_and_the_isolation_headers() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("a.wasm"), b"\0asm").unwrap();
        let folder = outer.path().canonicalize().unwrap();
        let ask = |request: &str| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            answer(listener.accept().unwrap().0, &folder).unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            text
        };
        let text = ask("GET /a.wasm HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("\r\n\r\n\0asm"), "{text}");
        assert!(text.contains("application/wasm") && text.contains("Cross-Origin-Embedder-Policy: require-corp"));
        assert!(ask("GET /b HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask("POST /a.wasm HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    }
}
