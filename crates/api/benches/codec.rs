//! What a write costs before it is committed: `cargo bench -p api`.

use std::hint::black_box;
use std::time::Instant;

use api::Gvk;
use api::codec::{Expected, Media, Mode, decode, protobuf};
use api::encode::stored;

fn main() {
    let config_map = format!(
        r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"bench-1","namespace":"default","labels":{{"app":"bench"}}}},"data":{{"payload":"{}"}}}}"#,
        "x".repeat(1024)
    );
    let set = r#"{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"redis"},"spec":{"replicas":3,"serviceName":"redis","selector":{"matchLabels":{"app":"redis"}},"template":{"metadata":{"labels":{"app":"redis"}},"spec":{"containers":[{"name":"redis","image":"redis:7","command":["sh","-c","exec redis-server"],"ports":[{"containerPort":6379}],"readinessProbe":{"exec":{"command":["redis-cli","ping"]}},"resources":{"requests":{"cpu":"100m","memory":"64Mi"}},"volumeMounts":[{"name":"data","mountPath":"/data"}]}]}},"volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}}"#;
    for (name, gvk, body) in [
        ("1 KiB ConfigMap", Gvk::of("", "v1", "ConfigMap"), config_map.as_str()),
        ("StatefulSet", Gvk::of("apps", "v1", "StatefulSet"), set),
    ] {
        let expected = Expected::exactly(gvk);
        let tree = decode(body.as_bytes(), Media::Json, expected, Mode::Typed).expect("valid").tree;
        let pb = protobuf::encode(&tree).expect("registered");
        measure(&format!("{name}: decode + encode"), || {
            let decoded = decode(black_box(body.as_bytes()), Media::Json, expected, Mode::Typed).expect("valid");
            black_box(stored(&decoded.tree));
        });
        measure(&format!("{name}: decode"), || {
            black_box(decode(black_box(body.as_bytes()), Media::Json, expected, Mode::Typed).expect("valid"));
        });
        measure(&format!("{name}: encode"), || drop(black_box(stored(black_box(&tree)))));
        measure(&format!("{name}: protobuf decode"), || {
            black_box(decode(black_box(&pb), Media::Protobuf, expected, Mode::Typed).expect("valid"));
        });
        measure(&format!("{name}: protobuf encode"), || {
            black_box(protobuf::encode(black_box(&tree)).expect("registered"));
        });
    }
}

fn measure(name: &str, mut run: impl FnMut()) {
    const ROUNDS: u32 = 20_000;
    for _ in 0..ROUNDS / 10 {
        run();
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        run();
    }
    println!("{name}: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}
