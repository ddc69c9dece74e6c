//! A count, or percents of a total (`IntOrString`).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

/// A count, or percents of a total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// A count.
    Count(i32),
    /// Percents.
    Percent(i32),
}

impl Share {
    /// Reads the wire form; `None` if it is neither a number nor percents.
    pub fn of(value: &IntOrString) -> Option<Self> {
        match value {
            IntOrString::Int(count) => Some(Self::Count(*count)),
            IntOrString::String(text) => text.strip_suffix('%')?.parse().ok().map(Self::Percent),
        }
    }

    /// The count of `total`, parts rounded up.
    pub fn rounded_up(self, total: i32) -> i32 {
        self.of_total(total, 99)
    }

    /// The count of `total`, parts rounded down.
    pub fn rounded_down(self, total: i32) -> i32 {
        self.of_total(total, 0)
    }

    fn of_total(self, total: i32, round: i64) -> i32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let hundredths = i64::from(percent) * i64::from(total) + round;
                i32::try_from(hundredths.div_euclid(100)).unwrap_or(i32::MAX)
            }
        }
    }
}

/// An update strategy as Deployments and DaemonSets store it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredStrategy {
    pub(crate) r#type: Option<String>,
    pub(crate) rolling_update: Option<StoredRolling>,
}

/// Its rolling update.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredRolling {
    pub(crate) max_surge: Option<IntOrString>,
    pub(crate) max_unavailable: Option<IntOrString>,
}

/// `maxSurge` and `maxUnavailable` of `replicas`; a rollout must be able to move, so if both come to 0, one may be
/// unavailable.
pub fn fenceposts(max_surge: Share, max_unavailable: Share, replicas: i32) -> (i32, i32) {
    let (surge, unavailable) = (max_surge.rounded_up(replicas), max_unavailable.rounded_down(replicas));
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}
