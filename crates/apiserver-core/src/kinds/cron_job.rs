//! CronJob: its row, defaults and rules (K-7).

use api::{Generation, Kind, Scope, Subresource, resources};
use meta::Timestamp;
use serde_json::{Value, json};

use super::{Column, KindDef, Needs, Row, Rules, cells, job, workload};
use crate::tree::{at, child_mut, items, member, set, set_default, text};
use crate::validate::metadata::validate_non_negative;
use crate::validate::{Errors, Path};

/// Eleven characters less than a label may have: the controller appends the time to the names of jobs.
const NAME_LEN_MAX: usize = 52;

pub(super) fn def() -> KindDef {
    KindDef {
        kind: Kind {
            short_names: &["cj"],
            categories: &["all"],
            subresources: const { &[Subresource::status("CronJob")] },
            generation: Generation::Spec,
            ..Kind::ordinary(resources::CRON_JOBS, Scope::Namespaced, "CronJob", "CronJobList", "cronjob")
        },
        columns: const {
            &[
                Column::NAME,
                Column::text("Schedule", "When jobs are made, in cron's notation."),
                Column::text("Timezone", "The time zone of the schedule."),
                Column { kind: "boolean", ..Column::text("Suspend", "Whether no more jobs are made.") },
                Column::int("Active", "Jobs that run."),
                Column::text("Last Schedule", "Time since a job was made last."),
                Column::AGE,
                Column::CONTAINERS,
                Column::IMAGES,
                Column::SELECTOR,
            ]
        },
        row,
        needs: Needs::Nothing,
        conversion: None,
        rules: Rules {
            default,
            prepare_create: |object| set(object, "status", json!({})),
            validate: |object, errors| {
                validate_spec(member(object, "spec"), &Value::Null, errors);
                let name = text(member(object, "metadata"), "name");
                if name.len() > NAME_LEN_MAX {
                    let metadata = Path::root("metadata");
                    errors.invalid_text(&metadata.child("name"), name, "must be no more than 52 characters");
                }
            },
            validate_update: |new, old, errors| validate_spec(member(new, "spec"), member(old, "spec"), errors),
            warn_create: workload::warn_name,
            warn,
            ..Rules::PLAIN
        },
    }
}

fn row(object: &Value, now: Timestamp) -> Row {
    let (spec, status) = (member(object, "spec"), member(object, "status"));
    let last = match text(status, "lastScheduleTime") {
        "" => "<none>".to_owned(),
        time => cells::since(time, now),
    };
    let suspended = match spec.get("suspend").and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    let job = at(spec, &["jobTemplate", "spec"]);
    let (containers, images) = cells::containers_and_images(at(job, &["template", "spec"]));
    Row::of([
        cells::name(object),
        text(spec, "schedule").into(),
        spec.get("timeZone").cloned().unwrap_or_else(|| "<none>".into()),
        suspended.into(),
        items(status, "active").len().into(),
        last.into(),
        cells::age(object, now),
        containers,
        images,
        workload::selector_cell(member(job, "selector")),
    ])
}

fn default(object: &mut Value) {
    let spec = child_mut(object, "spec");
    if text(spec, "concurrencyPolicy").is_empty() {
        set(spec, "concurrencyPolicy", "Allow");
    }
    set_default(spec, "suspend", false);
    set_default(spec, "successfulJobsHistoryLimit", 3);
    set_default(spec, "failedJobsHistoryLimit", 1);
    let template = child_mut(spec, "jobTemplate");
    let job = child_mut(template, "spec");
    job::default_template(job);
}

fn validate_spec(spec: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let schedule = text(spec, "schedule");
    if schedule.is_empty() {
        errors.required(&path.child("schedule"), "");
    } else {
        validate_schedule(spec, text(old, "schedule").contains("TZ"), &path.child("schedule"), errors);
    }
    validate_non_negative(spec, "startingDeadlineSeconds", &path, errors);
    if member(spec, "timeZone") != member(old, "timeZone") {
        validate_time_zone(spec, &path.child("timeZone"), errors);
    }
    match text(spec, "concurrencyPolicy") {
        "Allow" | "Forbid" | "Replace" => {}
        other => errors.not_supported(&path.child("concurrencyPolicy"), other, &["Allow", "Forbid", "Replace"]),
    }
    job::validate_template_spec(member(spec, "jobTemplate"), &path.child("jobTemplate"), errors);
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        validate_non_negative(spec, key, &path, errors);
    }
}

fn validate_schedule(spec: &Value, zone_was_in_it: bool, path: &Path<'_>, errors: &mut Errors) {
    let schedule = text(spec, "schedule");
    if let Err(why) = meta::cron::Schedule::parse(schedule) {
        errors.invalid_text(path, schedule, &why.to_string());
    }
    if !schedule.contains("TZ") {
        return;
    }
    if !zone_was_in_it {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.invalid_text(path, schedule, detail);
    } else if !member(spec, "timeZone").is_null() {
        let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
        errors.invalid_text(path, schedule, detail);
    }
}

fn validate_time_zone(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(zone) = spec.get("timeZone").and_then(Value::as_str) else { return };
    if zone.is_empty() {
        errors.invalid_text(path, "", "timeZone must be nil or non-empty string");
        return;
    }
    let is_good = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        (1..=14).contains(&part.len())
            && part.bytes().all(fits)
            && !part.starts_with('-')
            && !matches!(part, "." | "..")
    };
    if !zone.split('/').all(is_good) {
        errors.invalid_text(path, zone, &format!("unknown time zone {zone}"));
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid_text(path, zone, detail);
    }
    if !meta::cron::is_time_zone(zone) {
        errors.invalid_text(path, zone, &format!("unknown time zone {zone}"));
    }
}

fn warn(object: &Value, warnings: &mut Vec<String>) {
    let spec = member(object, "spec");
    job::warn_spec(at(spec, &["jobTemplate", "spec"]), "spec.jobTemplate.spec", warnings);
    if text(spec, "schedule").contains("TZ") {
        warnings.push(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
             https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
                .to_owned(),
        );
    }
}
