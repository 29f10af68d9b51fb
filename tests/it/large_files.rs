//! Files far larger than the gateway's memory, up and down, with readers and backends that stop.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use serde_json::json;

use crate::{
    backend::Backend,
    harness::{Config, Gateway, Stage, Via},
};

const MIB: usize = 1 << 20;
/// Of every file here.
const FILE_BYTES: usize = 64 * MIB;
/// A call holds a few messages of 1 MiB, and its connections' windows; never the file.
const GROWTH_BYTES_MAX: u64 = 16 << 20;
const UPLOAD: &str = "/echo/upload-stream";
const BEGIN: &str = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\n\r\n";

async fn stage() -> Stage {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        assert_eq!(conn.get("/echo/download-stream?count=3&size=1048576").await.status, 200);
    }
    Stage::set(backend, gateway, GROWTH_BYTES_MAX)
}

#[tokio::test]
async fn uploads_pass_through() {
    let stage = stage().await;
    for via in [Via::H1Tls, Via::H2Tls] {
        for (kind, begin, end) in [("a/b", "", ""), ("multipart/form-data; boundary=b", BEGIN, "\r\n--b--\r\n")] {
            let mut conn = stage.gateway.connect(via).await;
            let (mut upload, download) = conn.stream("POST", UPLOAD, &[("content-type", kind)]).await;
            upload.send_paced(begin.into()).await;
            let piece = Bytes::from(vec![b'x'; MIB]);
            for sent in 0..FILE_BYTES / MIB {
                assert!(upload.send_paced(piece.clone()).await);
                if sent % 16 == 15 {
                    stage.assert_flat(kind);
                }
            }
            upload.send_paced(end.into()).await;
            upload.finish();
            let sum = download.whole().await.json();
            assert_eq!(sum["bytes"], json!(FILE_BYTES.to_string()), "{kind} {via:?}: {sum}");
        }
    }
    stage.assert_flat("after all uploads");
}

#[tokio::test]
async fn downloads_pass_through() {
    let stage = stage().await;
    for via in [Via::H1Tls, Via::H2Tls] {
        let mut conn = stage.gateway.connect(via).await;
        let target = format!("/echo/download-stream?size={MIB}&count={}", FILE_BYTES / MIB);
        let mut download = conn.begin("GET", &target, &[], None).await;
        assert_eq!(download.head().await.expect("a head").status(), 200);
        let (mut bytes, mut told) = (0, 0);
        while let Some(piece) = download.piece().await {
            bytes += piece.expect("nothing breaks").len();
            if bytes - told > 16 * MIB {
                told = bytes;
                stage.assert_flat("a download");
            }
        }
        // Each piece begins with its name.
        assert!((FILE_BYTES..FILE_BYTES + 20_000).contains(&bytes), "{via:?}: {bytes}");
    }
    stage.assert_flat("after all downloads");
}

#[tokio::test]
async fn a_download_waits_for_a_reader_that_stops() {
    for via in [Via::H1Tls, Via::H2Tls] {
        let stage = stage().await;
        let mut conn = stage.gateway.connect(via).await;
        let target = format!("/echo/download-stream?size={MIB}&count={}", FILE_BYTES / MIB);
        let mut download = conn.begin("GET", &target, &[], None).await;
        assert_eq!(download.head().await.expect("a head").status(), 200);
        let sent = stage.settle(|| stage.sent()).await;
        assert!(sent < 32, "{sent} MiB left the backend though nobody reads them");
        stage.assert_flat("a reader that stops");
        let mut bytes = 0;
        while let Some(piece) = download.piece().await {
            bytes += piece.expect("nothing breaks").len();
        }
        assert!((FILE_BYTES..FILE_BYTES + 20_000).contains(&bytes), "{via:?}: {bytes}");
    }
}

#[tokio::test]
async fn an_upload_waits_for_a_backend_that_stops() {
    for via in [Via::H1Tls, Via::H2Tls] {
        let stage = stage().await;
        let mut conn = stage.gateway.connect(via).await;
        let headers = [("content-type", "a/b"), ("grpc-metadata-x-behave", "hang@1")];
        let (mut upload, _download) = conn.stream("POST", UPLOAD, &headers).await;
        let taken = Arc::new(AtomicU64::new(0));
        let count = taken.clone();
        let sending = tokio::spawn(async move {
            let piece = Bytes::from(vec![b'x'; MIB]);
            while upload.send_paced(piece.clone()).await {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let taken = stage.settle(|| taken.load(Ordering::Relaxed)).await;
        assert!(taken < 32, "{taken} MiB were taken though nobody wants them");
        stage.assert_flat("a backend that stops");
        sending.abort();
    }
}
