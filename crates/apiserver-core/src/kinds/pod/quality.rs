//! The quality-of-service class of a pod, which decides who is killed first when memory runs out.

use meta::Quantity;
use serde_json::Value;

use crate::kinds::persistent_volume_claim::quantity;
use crate::tree::{items, member};

/// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits of CPU and memory.
pub fn quality_of_service(spec: &Value) -> &'static str {
    let containers: Vec<&Value> = items(spec, "containers").iter().chain(items(spec, "initContainers")).collect();
    let positive = |list: &Value, name: &str| quantity(list, name).filter(Quantity::is_positive);
    let mut any = false;
    let mut all_guaranteed = !containers.is_empty();
    for container in containers {
        let resources = member(container, "resources");
        let (limits, requests) = (member(resources, "limits"), member(resources, "requests"));
        for name in ["cpu", "memory"] {
            let (limit, request) = (positive(limits, name), positive(requests, name));
            any |= limit.is_some() || request.is_some();
            all_guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, all_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let class = |resources: Value| quality_of_service(&json!({"containers": [{"resources": resources}]}));
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "0"}})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "1"}})), "Burstable");
        assert_eq!(class(json!({"limits": {"cpu": "1"}})), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!({"limits": both})), "Guaranteed");
        assert_eq!(class(json!({"limits": both, "requests": {"cpu": "1000m", "memory": "1024Mi"}})), "Guaranteed");
        assert_eq!(class(json!({"limits": both, "requests": {"cpu": "500m", "memory": "1Gi"}})), "Burstable");
    }
}
