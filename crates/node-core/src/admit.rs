//! Whether a pod fits on the node beside those that are there (N-37, S29).

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::run::amount;

/// What a node has for pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// CPU in millicores.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Pods.
    pub pods: usize,
}

/// What a pod asks for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Request {
    /// CPU in millicores.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
}

/// Why a pod is turned away: the pod's status reason and message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// For example `OutOfcpu`.
    pub reason: String,
    /// A sentence in upstream's words.
    pub message: String,
}

/// What the pod asks for: the larger of its containers together and each init container beside the sidecars before it.
///
/// Source: Kubernetes documentation, sidecar containers and init containers, resource sharing.
pub fn request(pod: &Pod) -> Request {
    let Some(spec) = &pod.spec else { return Request::default() };
    let of = |container: &Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        Request {
            cpu_millis: amount(requests, "cpu").map_or(0, |cpu| cpu.millis()),
            memory_bytes: amount(requests, "memory").map_or(0, |memory| memory.units()),
        }
    };
    let add = |a: Request, b: Request| Request {
        cpu_millis: a.cpu_millis.saturating_add(b.cpu_millis),
        memory_bytes: a.memory_bytes.saturating_add(b.memory_bytes),
    };
    let max = |a: Request, b: Request| Request {
        cpu_millis: a.cpu_millis.max(b.cpu_millis),
        memory_bytes: a.memory_bytes.max(b.memory_bytes),
    };
    let (mut sidecars, mut peak) = (Request::default(), Request::default());
    for init in spec.init_containers.iter().flatten() {
        let own = add(sidecars, of(init));
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = own;
        }
        peak = max(peak, own);
    }
    let apps = spec.containers.iter().map(of).fold(sidecars, add);
    let overhead = Request {
        cpu_millis: amount(spec.overhead.as_ref(), "cpu").map_or(0, |cpu| cpu.millis()),
        memory_bytes: amount(spec.overhead.as_ref(), "memory").map_or(0, |memory| memory.units()),
    };
    add(max(peak, apps), overhead)
}

/// Checks a pod against what is left beside the others.
///
/// # Errors
/// [`Rejection`] names the first resource that is short.
pub fn admit<'a>(pod: &Pod, others: impl IntoIterator<Item = &'a Pod>, capacity: Capacity) -> Result<(), Rejection> {
    let mut used = Request::default();
    let mut count = 0;
    for other in others {
        let phase = other.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let request = request(other);
        used.cpu_millis = used.cpu_millis.saturating_add(request.cpu_millis);
        used.memory_bytes = used.memory_bytes.saturating_add(request.memory_bytes);
        count += 1;
    }
    let wanted = request(pod);
    let short = |name: &str, requested: i64, used: i64, capacity: i64| Rejection {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        ),
    };
    if count + 1 > capacity.pods {
        let (used, capacity) = (i64::try_from(count).unwrap_or(0), i64::try_from(capacity.pods).unwrap_or(0));
        return Err(short("pods", 1, used, capacity));
    }
    if wanted.cpu_millis > 0 && used.cpu_millis.saturating_add(wanted.cpu_millis) > capacity.cpu_millis {
        return Err(short("cpu", wanted.cpu_millis, used.cpu_millis, capacity.cpu_millis));
    }
    if wanted.memory_bytes > 0 && used.memory_bytes.saturating_add(wanted.memory_bytes) > capacity.memory_bytes {
        return Err(short("memory", wanted.memory_bytes, used.memory_bytes, capacity.memory_bytes));
    }
    unsupported(pod)
}

/// What this node cannot do is refused with a sentence, not half done.
fn unsupported(pod: &Pod) -> Result<(), Rejection> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let refuse = |what: String| {
        Err(Rejection {
            reason: "UnsupportedFeature".to_owned(),
            message: format!("this node does not support {what}"),
        })
    };
    if spec.share_process_namespace == Some(true) {
        return refuse("shareProcessNamespace".to_owned());
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        let probes = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
        if probes.into_iter().flatten().any(|probe| probe.grpc.is_some()) {
            return refuse(format!("gRPC probes (container {})", container.name));
        }
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            return refuse(format!("block devices (container {})", container.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
        .unwrap()
    }

    const CAPACITY: Capacity = Capacity { cpu_millis: 2000, memory_bytes: 1 << 30, pods: 2 };

    #[test]
    fn a_pod_fits_up_to_the_last_millicore() {
        // N-37.
        let others = [pod("1")];
        assert_eq!(admit(&pod("1"), &others, CAPACITY), Ok(()));
        let rejection = admit(&pod("1001m"), &others, CAPACITY).unwrap_err();
        assert_eq!(rejection.reason, "OutOfcpu");
        assert_eq!(
            rejection.message,
            "Node didn't have enough resource: cpu, requested: 1001, used: 1000, capacity: 2000"
        );
    }

    #[test]
    fn no_more_pods_than_the_node_takes() {
        let others = [pod("0"), pod("0")];
        assert_eq!(admit(&pod("0"), &others, CAPACITY).unwrap_err().reason, "OutOfpods");
    }

    #[test]
    fn init_containers_count_beside_the_sidecars_before_them() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"name": "i", "resources": {"requests": {"cpu": "3"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}))
        .unwrap();
        assert_eq!(request(&pod).cpu_millis, 4000);
    }
}
