//! The proxy in front of a client of a scripted server.

use crate::tests::{Stub, serving};

use super::*;

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let code = text.split(' ').nth(1).unwrap().parse().unwrap();
    (code, text.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn the_api_and_a_directory_are_served_and_nothing_else() {
    let stub = Stub::default().on("GET /api/v1beta1/pods?labels=a%3Db", 200, "{\"kind\":\"PodList\"}");
    let (master, _, tasks) = serving(stub).await;
    let www = tempfile::tempdir().unwrap();
    std::fs::write(www.path().join("index.html"), "<p>hello").unwrap();
    let args = crate::args::Args::parse(&["-h".to_owned(), master]).unwrap();
    let mut world = World::real();
    let target = crate::target::find(&args.flags, &world).await.unwrap();
    let client = Client::new(&args.flags, target, &mut world).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Arc::new(Proxy { client, www: Some(www.path().to_owned()) });
    let group = tasks.clone();
    tasks.spawn_until_stop(async move {
        let _ = accept(listener, proxy, &group).await;
    });
    for (path, code, part) in [
        ("/api/v1beta1/pods?labels=a%3Db", 200, "PodList"),
        ("/api/v1beta1/nothing", 404, "Not Found"),
        ("/static/", 200, "<p>hello"),
        ("/static/index.html", 200, "<p>hello"),
        ("/static/../secret", 404, "404 page not found"),
        ("/static/%2e%2e/secret", 404, "404 page not found"),
        ("/elsewhere", 404, "404 page not found"),
    ] {
        let (found, body) = get(address, path).await;
        assert_eq!(found, code, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
    }
    tasks.stop();
}
