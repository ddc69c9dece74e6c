//! The image of a container: found, pulled, refused.

use std::time::Duration;

use meta::Timestamp;

use super::{Container, SHOWN, Surroundings, go_duration};
use crate::after;
use crate::step::{Action, EventType, ImageFact, ImageFailure, Pulled};

#[derive(Clone, Debug)]
pub(crate) enum Image {
    Unknown,
    Finding,
    Missing,
    Pulling,
    Present(ImageFact),
    Failed { reason: &'static str, message: String, at: Timestamp, retry_at: Timestamp, told: bool },
}

impl Container {
    pub(super) fn fetch_and_start(&mut self, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let Some(spec) = around.container(&self.name) else { return };
        let image = spec.image.as_deref().unwrap_or_default();
        let policy = spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        match &mut self.image {
            Image::Finding | Image::Pulling => {}
            Image::Unknown if policy == "Always" => self.begin_pull(image, out),
            Image::Unknown => {
                self.image = Image::Finding;
                out.push(Action::FindImage { container: self.name.clone() });
            }
            Image::Missing if policy == "Never" => {
                let message = format!("Container image {image:?} is not present with pull policy of Never");
                out.push(self.record(EventType::Warning, "ErrImageNeverPull", message.clone()));
                out.push(self.record(EventType::Warning, "Failed", "Error: ErrImageNeverPull".to_owned()));
                self.image_failed("ErrImageNeverPull", message, around.now);
            }
            Image::Missing => self.begin_pull(image, out),
            Image::Failed { retry_at, reason, .. } if *retry_at <= around.now => {
                if *reason == "ErrImagePull" {
                    self.begin_pull(image, out);
                } else {
                    self.image = Image::Finding;
                    out.push(Action::FindImage { container: self.name.clone() });
                }
            }
            Image::Failed { reason: "ErrImagePull", message, at, told, .. } => {
                if !*told && after(*at, SHOWN) <= around.now {
                    *told = true;
                    let text = format!("Back-off pulling image {image:?}");
                    self.failure = Some(("ImagePullBackOff", format!("{text}: ErrImagePull: {message}")));
                    out.push(self.record(EventType::Normal, "BackOff", text));
                    out.push(self.record(EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned()));
                }
            }
            Image::Failed { .. } => {}
            Image::Present(_) => self.begin_start(around, out),
        }
    }

    fn begin_pull(&mut self, image: &str, out: &mut Vec<Action>) {
        self.image = Image::Pulling;
        out.push(self.record(EventType::Normal, "Pulling", format!("Pulling image {image:?}")));
        out.push(Action::PullImage { container: self.name.clone() });
    }

    pub(crate) fn image_found(
        &mut self,
        found: Result<Option<ImageFact>, ImageFailure>,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.image, Image::Finding) {
            return;
        }
        match found {
            Ok(Some(image)) => {
                let name = self.image_name(around);
                let text =
                    format!("Container image {name:?} already present on machine and can be accessed by the pod");
                out.push(self.record(EventType::Normal, "Pulled", text));
                self.image_present(image);
            }
            Ok(None) => self.image = Image::Missing,
            Err(failure) => self.image_refused(failure, around, out),
        }
    }

    pub(crate) fn image_pulled(
        &mut self,
        pulled: Result<Pulled, ImageFailure>,
        around: &Surroundings<'_>,
        out: &mut Vec<Action>,
    ) {
        if !matches!(self.image, Image::Pulling) {
            return;
        }
        match pulled {
            Ok(Pulled { image, took, size_bytes }) => {
                let took = go_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
                let name = self.image_name(around);
                let text = format!(
                    "Successfully pulled image {name:?} in {took} ({took} including waiting). \
                     Image size: {size_bytes} bytes."
                );
                out.push(self.record(EventType::Normal, "Pulled", text));
                self.image_present(image);
            }
            Err(failure) => self.image_refused(failure, around, out),
        }
    }

    pub(super) fn image_name(&self, around: &Surroundings<'_>) -> String {
        around.container(&self.name).and_then(|spec| spec.image.clone()).unwrap_or_default()
    }

    fn image_present(&mut self, image: ImageFact) {
        self.image = Image::Present(image);
        self.pull.reset();
        self.failure = None;
    }

    fn image_refused(&mut self, failure: ImageFailure, around: &Surroundings<'_>, out: &mut Vec<Action>) {
        let image = self.image_name(around);
        match failure {
            ImageFailure::InvalidName(why) => {
                let message = format!("Failed to apply default image tag {image:?}: {why}");
                out.push(self.record(EventType::Warning, "InspectFailed", message.clone()));
                out.push(self.record(EventType::Warning, "Failed", "Error: InvalidImageName".to_owned()));
                self.image_failed("InvalidImageName", message, around.now);
            }
            ImageFailure::Pull(why) => {
                let message = format!("Failed to pull image {image:?}: {why}");
                out.push(self.record(EventType::Warning, "Failed", message));
                out.push(self.record(EventType::Warning, "Failed", "Error: ErrImagePull".to_owned()));
                self.image_failed("ErrImagePull", why, around.now);
            }
        }
    }

    fn image_failed(&mut self, reason: &'static str, message: String, now: Timestamp) {
        let retry_at = self.pull.fail(now);
        self.failure = Some((reason, message.clone()));
        self.image = Image::Failed { reason, message, at: now, retry_at, told: false };
    }

    pub(super) fn image_id(&self) -> &str {
        match &self.image {
            Image::Present(image) => &image.id,
            _ => "",
        }
    }
}
