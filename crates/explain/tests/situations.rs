//! The library of stuck situations: `tests/situations/NAME.yaml` holds the objects, `NAME.txt` what `why` says about
//! them. The first line of the objects names the one that is asked about, and sets of objects to begin with.
//!
//! `UPDATE_EXPECT=1 cargo test -p explain` writes the answers anew; read them before you commit them.

use std::path::PathBuf;

use expect_test::expect_file;
use explain::{Cluster, Ref, why};
use serde_json::Value;

/// The moment of all questions.
const NOW: &str = "2026-01-01T12:00:00Z";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/situations")
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .filter(|part| part.lines().any(|line| !line.starts_with('#') && !line.trim().is_empty()))
        .map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{error}\n{part}")))
        .collect()
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn namespaced(kind: &str) -> bool {
    !matches!(kind, "Node" | "Namespace" | "StorageClass" | "PersistentVolume")
}

/// `# why pod/redis-0, with redis running`
fn check(name: &str) {
    let text = read(&folder().join(format!("{name}.yaml")));
    let header = text.lines().next().and_then(|line| line.strip_prefix("# why ")).expect("a header");
    let (about, bases) = header.split_once(", with ").unwrap_or((header, ""));
    let (kind, object) = about.split_once('/').expect("kind/name");
    let mut cluster = Cluster::default();
    let bases = bases.split_whitespace().map(|base| read(&folder().join("base").join(format!("{base}.yaml"))));
    for mut object in bases.chain([text.clone()]).flat_map(|text| documents(&text)) {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        if namespaced(&kind) && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = "default".into();
        }
        if kind == "Event" && object["metadata"]["name"].is_null() {
            object["metadata"]["name"] = format!("event-{}", object["message"]).into();
        }
        cluster.insert(object);
    }
    let namespace = if namespaced(kind) { "default" } else { "" };
    let answer = why::why(&cluster, &Ref::new(kind, namespace, object), NOW.parse().expect("a time"));
    expect_file![folder().join(format!("{name}.txt"))].assert_eq(&answer.to_string());
}

macro_rules! situations {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_situation_of_the_library_is_a_test() {
            let mut listed = vec![$(stringify!($name).to_owned()),*];
            listed.sort();
            let files = std::fs::read_dir(folder()).expect("the folder").map(|file| file.expect("a file").path());
            let yaml = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
            let mut found: Vec<_> = yaml.map(|p| p.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
            found.sort();
            assert_eq!(listed, found);
        }
    };
}

situations! {
    all_is_well
    the_predecessor_runs_and_its_probe_fails
    the_readiness_probe_fails_at_first
    the_pod_is_yet_to_be_made
    min_ready_seconds_are_not_over
    the_next_pod_waits_for_one_that_is_stopping
    a_finalizer_holds_a_pod
    the_node_of_a_stopping_pod_is_gone
    a_pod_cannot_be_stopped
    somebody_elses_pod_has_the_name
    the_claim_of_the_slot_is_being_deleted
    the_claim_belongs_to_an_earlier_pod
    a_pod_has_other_volumes_than_the_set
    on_delete_leaves_old_pods_to_people
    the_partition_holds_pods_back
    pods_of_a_parallel_set_are_down
    a_broken_revision_is_in_the_way_of_the_good_one
    a_new_template_may_be_wrong
    healing_leaves_a_pod_alone_that_was_ready
    healing_is_the_default_of_the_cluster
    healing_is_switched_off_for_the_set
    a_new_template_may_be_wrong_where_pods_are_healed
    the_service_does_not_exist
    the_name_of_the_set_is_too_long
    a_quota_is_used_up
    a_quota_wants_requests
    a_limit_range_refuses_the_pod
    the_service_account_does_not_exist
    the_priority_class_does_not_exist
    the_namespace_is_being_deleted
    an_admission_rule_refuses_the_pod
    the_controller_has_not_seen_the_change
    zero_replicas_are_wanted
    a_foreground_deletion_waits_for_a_pod
    the_object_does_not_exist
    no_node_has_enough_cpu
    a_less_important_pod_is_leaving_for_it
    no_node_has_the_label
    no_taint_is_tolerated
    every_node_is_cordoned
    the_pod_is_larger_than_every_node
    there_is_no_node
    the_node_is_full
    anti_affinity_asks_for_more_nodes
    the_volume_is_on_another_node
    a_scheduling_gate_is_closed
    another_scheduler_is_asked_for
    the_scheduler_has_not_looked_yet
    a_claim_does_not_exist
    no_default_storage_class
    the_storage_class_does_not_exist
    the_volume_cannot_be_made
    a_claim_waits_for_its_first_pod
    a_claim_has_lost_its_volume
    a_claim_names_a_volume_of_another_claim
    a_claim_names_a_released_volume
    a_volume_cannot_grow
    a_volume_grows
    a_claim_is_kept_by_a_pod_that_has_ended
    a_pod_became_ready_in_the_future
    a_claim_is_kept_by_its_user
    no_registry_knows_the_image
    the_registry_does_not_authorize
    the_registry_wants_a_login
    the_pull_secret_does_not_exist
    the_registry_cannot_be_reached
    the_image_is_never_pulled
    the_image_name_is_wrong
    a_secret_of_the_environment_is_missing
    a_key_of_the_environment_is_missing
    the_image_runs_as_root_and_may_not
    the_command_does_not_exist
    the_program_ends_at_once
    the_program_needs_more_memory
    the_liveness_probe_kills_it
    the_readiness_probe_has_not_answered_yet
    the_startup_probe_fails
    an_init_container_ends_with_an_error
    an_init_container_takes_long
    a_readiness_gate_is_closed
    a_config_map_of_a_volume_is_missing
    the_node_is_not_heard
    the_pod_was_evicted
    a_bare_pod_has_failed
    a_node_is_cordoned
    a_node_is_not_ready
    a_node_lacks_disk
    a_namespace_keeps_something
    a_budget_allows_no_eviction
    a_budget_waits_for_a_sick_pod
    a_service_selects_no_pod
    a_deployment_is_paused
    a_deployment_waits_for_a_pod
    a_deployment_update_is_late
    a_released_volume_keeps_its_data
    a_quota_is_full
}
