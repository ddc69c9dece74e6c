//! `roadstead up --virtual-nodes N`: Node objects with an annotation, made as anybody could make them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};

use crate::cli::VirtualArgs;

/// Marks a Node as virtual; the server runs its pods.
const VIRTUAL: &str = meta::VIRTUAL_ANNOTATION;
/// Nodes that are made at once.
const CREATES_MAX: usize = 16;
/// Longest wait for an event before the watch is begun anew, in seconds.
const WATCH_SECS: u32 = 60;

/// Makes the nodes `virtual-0` to `virtual-<count - 1>` where they are missing, and waits until all are ready. Others are
/// left alone, more than that also.
///
/// # Errors
/// If a name is taken by a node with a machine, or the API refuses a node.
pub async fn ensure(client: &Client, args: &VirtualArgs) -> Result<()> {
    if args.virtual_nodes == 0 {
        return Ok(());
    }
    let nodes = Api::<Node>::all(client.clone());
    let here: BTreeMap<String, bool> = nodes
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .map(|node| (name(&node), is_virtual(&node)))
        .collect();
    let wanted: BTreeSet<String> = (0..args.virtual_nodes).map(|n| format!("virtual-{n}")).collect();
    if let Some(name) = wanted.iter().find(|name| here.get(*name) == Some(&false)) {
        bail!("--virtual-nodes {}: the node {name:?} is there and is not virtual", args.virtual_nodes);
    }
    let missing: Vec<&String> = wanted.iter().filter(|name| !here.contains_key(*name)).collect();
    let new = missing.len();
    let create = async |name: &String| {
        let node = node(name, &args.virtual_node_capacity.0);
        let made = nodes.create(&PostParams::default(), &node).await;
        made.map(|_| ()).with_context(|| format!("make the virtual node {name:?}"))
    };
    futures::stream::iter(missing).map(create).buffer_unordered(CREATES_MAX).try_collect::<()>().await?;
    until_ready(&nodes, wanted).await?;
    let more = here.values().filter(|is_virtual| **is_virtual).count() + new - args.virtual_nodes as usize;
    let beside = if more == 0 { String::new() } else { format!(" beside {more} others") };
    eprintln!("{} virtual nodes are ready{beside} ({new} new)", args.virtual_nodes);
    Ok(())
}

fn name(node: &Node) -> String {
    node.metadata.name.clone().unwrap_or_default()
}

fn is_virtual(node: &Node) -> bool {
    node.metadata.annotations.as_ref().and_then(|notes| notes.get(VIRTUAL)).is_some_and(|value| value == "true")
}

fn node(name: &str, capacity: &BTreeMap<String, Quantity>) -> Node {
    let notes = BTreeMap::from([(VIRTUAL.to_owned(), "true".to_owned())]);
    let amounts = (!capacity.is_empty()).then(|| capacity.clone());
    Node {
        metadata: ObjectMeta { name: Some(name.to_owned()), annotations: Some(notes), ..ObjectMeta::default() },
        status: Some(NodeStatus { capacity: amounts.clone(), allocatable: amounts, ..NodeStatus::default() }),
        ..Node::default()
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn until_ready(nodes: &Api<Node>, mut waiting: BTreeSet<String>) -> Result<()> {
    loop {
        let list = nodes.list(&ListParams::default()).await?;
        for node in list.items.iter().filter(|node| is_ready(node)) {
            waiting.remove(&name(node));
        }
        let from = list.metadata.resource_version.unwrap_or_default();
        let parameters = WatchParams::default().timeout(WATCH_SECS);
        let mut events = nodes.watch(&parameters, &from).await?.boxed();
        while !waiting.is_empty() {
            match events.try_next().await? {
                Some(WatchEvent::Added(node) | WatchEvent::Modified(node)) if is_ready(&node) => {
                    waiting.remove(&name(&node));
                }
                Some(WatchEvent::Error(_)) | None => break,
                Some(_) => {}
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
    }
}
