//! The lines of `kubectl get` (api.md 2.11).

use crate::bed::{SET, def_of, merged, now, stored, yaml};
use expect_test::expect;
use serde_json::Value;

/// The titles and the cells of an object, `|` between, those of `-o wide` after `||`.
fn line(object: &Value) -> String {
    let def = def_of(object);
    let now = now() + jiff::SignedDuration::from_secs(90);
    let row = (def.row)(object, now);
    assert_eq!(row.cells.len(), def.columns.len(), "{}", def.kind.kind);
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for (column, cell) in def.columns.iter().zip(&row.cells) {
        let shown = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        let shown = format!("{}={shown}", column.name);
        if column.priority == 0 { narrow.push(shown) } else { wide.push(shown) }
    }
    format!("{} || {}", narrow.join(" | "), wide.join(" | "))
}

fn table(base: &Value, changes: &[&str]) -> String {
    let lines: Vec<String> = changes.iter().map(|change| format!("{}\n", line(&merged(base, &yaml(change))))).collect();
    lines.concat()
}

#[test]
fn sets_show_ready_of_wanted() {
    // A-51.
    let set = stored(yaml(SET));
    expect![[r#"
        Name=web | Ready=0/1 | Age=90s || Containers=web | Images=nginx:1.27
        Name=web | Ready=2/3 | Age=90s || Containers=web | Images=nginx:1.27
    "#]]
    .assert_eq(&table(&set, &["{}", "{spec: {replicas: 3}, status: {readyReplicas: 2}}"]));
}

#[test]
fn pods_show_what_they_are_doing() {
    // V-150.
    let pod = stored(yaml(crate::bed::POD));
    let containers = |statuses: &str| format!("status: {{phase: Running, containerStatuses: [{statuses}]}}");
    let rows = [
        "{}".to_owned(),
        "status: {conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}".to_owned(),
        containers("{name: web, restartCount: 0, ready: false, state: {waiting: {reason: ContainerCreating}}}"),
        containers("{name: web, restartCount: 0, ready: true, state: {running: {}}}"),
        containers("{name: web, restartCount: 3, ready: false, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, finishedAt: '2026-11-21T07:00:30Z'}}}"),
        containers("{name: web, restartCount: 0, ready: false, state: {terminated: {exitCode: 137, signal: 9}}}"),
        containers("{name: web, restartCount: 0, ready: false, state: {terminated: {exitCode: 2}}}"),
        containers("{name: web, restartCount: 0, ready: false, state: {terminated: {exitCode: 0, reason: Completed}}}"),
        "status: {phase: Failed, reason: Evicted}".to_owned(),
        "{metadata: {deletionTimestamp: '2026-11-21T07:01:00Z'}, status: {phase: Running}}".to_owned(),
        "{metadata: {deletionTimestamp: '2026-11-21T07:01:00Z'}, status: {phase: Running, reason: NodeLost}}".to_owned(),
        "{metadata: {deletionTimestamp: '2026-11-21T07:01:00Z'}, status: {phase: Succeeded}}".to_owned(),
        "{spec: {nodeName: here, readinessGates: [{conditionType: a}, {conditionType: b}]}, status: {podIP: 10.1.0.2, conditions: [{type: a, status: 'True'}]}}".to_owned(),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    expect![[r#"
        Name=web-0 | Ready=0/1 | Status=Pending | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=SchedulingGated | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=ContainerCreating | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=1/1 | Status=Running | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=CrashLoopBackOff | Restarts=3 (60s ago) | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Signal:9 | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=ExitCode:2 | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Completed | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Evicted | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Terminating | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Unknown | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Succeeded | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/1 | Status=Pending | Restarts=0 | Age=90s || IP=10.1.0.2 | Node=here | Nominated Node=<none> | Readiness Gates=1/2
    "#]].assert_eq(&table(&pod, &rows));
}

#[test]
fn pods_show_how_far_their_init_containers_are() {
    let pod = merged(
        &stored(yaml(crate::bed::POD)),
        &yaml(
            "spec: {initContainers: [{name: a, image: x}, {name: s, image: x, restartPolicy: Always}, {name: b, image: x}]}",
        ),
    );
    let done = "{name: a, restartCount: 1, state: {terminated: {exitCode: 0}}}";
    let sidecar = "{name: s, restartCount: 1, ready: true, started: true, state: {running: {}}}";
    let init = |statuses: &str| format!("status: {{initContainerStatuses: [{statuses}]}}");
    let rows = [
        init("{name: a, restartCount: 0, state: {waiting: {reason: PodInitializing}}}"),
        init("{name: a, restartCount: 0, state: {waiting: {reason: ErrImagePull}}}"),
        init("{name: a, restartCount: 2, state: {terminated: {exitCode: 1}}}"),
        init("{name: a, restartCount: 2, state: {terminated: {exitCode: 1, reason: Error}}}"),
        init(&format!("{done}, {sidecar}, {{name: b, restartCount: 0, state: {{running: {{}}}}}}")),
        format!(
            "status: {{phase: Running, initContainerStatuses: [{done}, {sidecar}, {{name: b, state: {{terminated: {{exitCode: 0}}}}}}], containerStatuses: [{{name: web, restartCount: 0, ready: true, state: {{running: {{}}}}}}]}}"
        ),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    expect![[r#"
        Name=web-0 | Ready=0/2 | Status=Init:0/3 | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/2 | Status=Init:ErrImagePull | Restarts=0 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/2 | Status=Init:ExitCode:1 | Restarts=2 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=0/2 | Status=Init:Error | Restarts=2 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=1/2 | Status=Init:2/3 | Restarts=2 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
        Name=web-0 | Ready=2/2 | Status=Running | Restarts=1 | Age=90s || IP=<none> | Node=<none> | Nominated Node=<none> | Readiness Gates=<none>
    "#]].assert_eq(&table(&pod, &rows));
}

#[test]
fn every_other_kind_has_its_columns() {
    // A-52.
    let objects = [
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}, binaryData: {b: AAAA}}",
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: Yg==}}",
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}",
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}",
        "{apiVersion: v1, kind: Node, metadata: {name: here, labels: {node-role.kubernetes.io/control-plane: '', kubernetes.io/role: worker}}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: 10.0.0.1}], nodeInfo: {kubeletVersion: v1, osImage: Debian, kernelVersion: '6', containerRuntimeVersion: r, architecture: a, bootID: b, machineID: m, systemUUID: s, operatingSystem: linux, kubeProxyVersion: ''}}}",
        "{apiVersion: v1, kind: Node, metadata: {name: there}}",
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}], selector: {app: web}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30001}]}}",
        "{apiVersion: v1, kind: Service, metadata: {name: c}, spec: {type: LoadBalancer, ports: [{port: 80, nodePort: 30002}]}}",
        "{apiVersion: v1, kind: Service, metadata: {name: d}, spec: {type: ExternalName, externalName: example.com}}",
        "{apiVersion: v1, kind: Service, metadata: {name: e}, spec: {clusterIP: None}}",
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e}, subsets: [{addresses: [{ip: 10.1.0.2}, {ip: 10.1.0.3}], ports: [{port: 80, name: a}, {port: 81, name: b}]}]}",
        "{apiVersion: v1, kind: Endpoints, metadata: {name: e}}",
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, endpoints: [{addresses: [10.1.0.2]}, {addresses: [10.1.0.3]}, {addresses: [10.1.0.4]}, {addresses: [10.1.0.5]}], ports: [{port: 80}]}",
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: roadstead.dev/local}",
        "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: l}, spec: {holderIdentity: me}}",
        "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: r, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}, data: {a: b}, revision: 2}",
        "{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv-0}, spec: {accessModes: [ReadWriteMany, ReadWriteOnce], capacity: {storage: 1Gi}, hostPath: {path: /x}, claimRef: {namespace: default, name: data}, storageClassName: standard}}",
    ];
    let lines: Vec<String> = objects.iter().map(|object| format!("{}\n", line(&stored(yaml(object))))).collect();
    expect![[r#"
        Name=c | Data=2 | Age=90s || 
        Name=s | Type=Opaque | Data=1 | Age=90s || 
        Name=shop | Status=Active | Age=90s || 
        Name=robot | Age=90s || 
        Name=here | Status=Ready,SchedulingDisabled | Roles=control-plane,worker | Age=90s | Version=v1 || Internal-IP=10.0.0.1 | External-IP=<none> | OS-Image=Debian | Kernel-Version=6 | Container-Runtime=r
        Name=there | Status=Unknown | Roles=<none> | Age=90s | Version= || Internal-IP=<none> | External-IP=<none> | OS-Image=<unknown> | Kernel-Version=<unknown> | Container-Runtime=<unknown>
        Name=a | Type=ClusterIP | Cluster-IP=10.0.0.26 | External-IP=<none> | Port(s)=80/TCP | Age=90s || Selector=app=web
        Name=b | Type=NodePort | Cluster-IP=10.0.0.26 | External-IP=<none> | Port(s)=80:30001/TCP | Age=90s || Selector=<none>
        Name=c | Type=LoadBalancer | Cluster-IP=10.0.0.26 | External-IP=<pending> | Port(s)=80:30002/TCP | Age=90s || Selector=<none>
        Name=d | Type=ExternalName | Cluster-IP=<none> | External-IP=example.com | Port(s)=<none> | Age=90s || Selector=<none>
        Name=e | Type=ClusterIP | Cluster-IP=None | External-IP=<none> | Port(s)=<none> | Age=90s || Selector=<none>
        Name=e | Endpoints=10.1.0.2:80,10.1.0.2:81,10.1.0.3:80 + 1 more... | Age=90s || 
        Name=e | Endpoints=<none> | Age=90s || 
        Name=e | AddressType=IPv4 | Ports=80 | Endpoints=10.1.0.2,10.1.0.3,10.1.0.4 + 1 more... | Age=90s || 
        Name=standard (default) | Provisioner=roadstead.dev/local | ReclaimPolicy=Delete | VolumeBindingMode=Immediate | AllowVolumeExpansion=false | Age=90s || 
        Name=l | Holder=me | Age=90s || 
        Name=r | Controller=statefulset.apps/web | Revision=2 | Age=90s || 
        Name=pv-0 | Capacity=1Gi | Access Modes=RWO,RWX | Reclaim Policy=Retain | Status=Pending | Claim=default/data | StorageClass=standard | VolumeAttributesClass=<unset> | Reason= | Age=90s || VolumeMode=Filesystem
    "#]].assert_eq(&lines.concat());
}

#[test]
fn claims_show_their_volume_once_they_have_one() {
    let claim = stored(yaml(crate::claims_and_volumes::CLAIM));
    expect![[r#"
        Name=data | Status=Pending | Volume= | Capacity= | Access Modes= | StorageClass=standard | VolumeAttributesClass=<unset> | Age=90s || VolumeMode=Filesystem
        Name=data | Status=Bound | Volume=pv-0 | Capacity=1Gi | Access Modes=RWO | StorageClass=standard | VolumeAttributesClass=<unset> | Age=90s || VolumeMode=Filesystem
        Name=data | Status=Terminating | Volume= | Capacity= | Access Modes= | StorageClass=standard | VolumeAttributesClass=<unset> | Age=90s || VolumeMode=Filesystem
    "#]].assert_eq(&table(
        &claim,
        &[
            "{}",
            "{spec: {volumeName: pv-0}, status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}}",
            "{metadata: {deletionTimestamp: '2026-11-21T07:01:00Z'}}",
        ],
    ));
}
