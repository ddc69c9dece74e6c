//! Lists of resource amounts (`{cpu: 500m, memory: 1Gi}`) and what a pod asks for in all.

use std::collections::BTreeMap;

use meta::Quantity;
use serde_json::Value;

use crate::tree::{at, items, member, text};

/// Amounts by the name of the resource.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Reads a list; what is no quantity is left out.
pub(super) fn read(list: &Value) -> Amounts {
    let amount = |(name, value): (&String, &Value)| Some((name.clone(), Quantity::parse(value.as_str()?).ok()?));
    list.as_object().into_iter().flatten().filter_map(amount).collect()
}

/// The list as it is stored.
pub(super) fn write(amounts: &Amounts) -> Value {
    amounts
        .iter()
        .map(|(name, amount)| (name.clone(), Value::from(amount.to_string())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `cpu=500m,pods=1`.
pub(super) fn shown(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    parts.join(",")
}

pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(largest: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = largest.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// What a pod asks for in all, from the `requests` or the `limits` of its containers.
///
/// Init containers run one after the other, those that go on beside the others; amounts for the whole pod win.
pub(super) fn of_pod(spec: &Value, list: &str) -> Amounts {
    let of = |container: &Value| read(at(container, &["resources", list]));
    let mut sum = Amounts::new();
    for container in items(spec, "containers") {
        add(&mut sum, &of(container));
    }
    let (mut beside, mut largest) = (Amounts::new(), Amounts::new());
    for container in items(spec, "initContainers") {
        let mut own = of(container);
        if text(container, "restartPolicy") == "Always" {
            add(&mut sum, &own);
            add(&mut beside, &own);
            raise(&mut largest, &beside);
        } else {
            add(&mut own, &beside);
            raise(&mut largest, &own);
        }
    }
    raise(&mut sum, &largest);
    for (name, amount) in read(member(member(spec, "resources"), list)) {
        if matches!(name.as_str(), "cpu" | "memory") {
            sum.insert(name, amount);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_count_only_where_they_need_more() {
        let container = |cpu: &str, restart: Option<&str>| {
            let mut container = json!({"resources": {"requests": {"cpu": cpu}}});
            if let Some(restart) = restart {
                container["restartPolicy"] = restart.into();
            }
            container
        };
        let cpu = |init: Vec<Value>| {
            let spec = json!({"containers": [container("1", None), container("500m", None)], "initContainers": init});
            of_pod(&spec, "requests")["cpu"].to_string()
        };
        assert_eq!(cpu(vec![]), "1500m");
        assert_eq!(cpu(vec![container("1", None)]), "1500m");
        assert_eq!(cpu(vec![container("2", None), container("3", None)]), "3");
        assert_eq!(cpu(vec![container("1", Some("Always"))]), "2500m");
        assert_eq!(cpu(vec![container("1", Some("Always")), container("2", None)]), "3");
    }

    #[test]
    fn amounts_for_the_whole_pod_win() {
        let spec = json!({
            "containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"}}}],
            "resources": {"limits": {"cpu": "4", "ephemeral-storage": "9Gi"}},
        });
        assert_eq!(shown(&of_pod(&spec, "limits")), "cpu=4,ephemeral-storage=2Gi,memory=1Gi");
    }
}
