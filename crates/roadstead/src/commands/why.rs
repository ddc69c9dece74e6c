//! `roadstead why`.

use std::process::ExitCode;

use anyhow::Result;
use explain::why::{State, why};

use crate::cli::{Output, WhyArgs};
use crate::gather;

/// Prints what an object waits for; exit code 0 if nothing blocks it, 2 if it waits, 3 if it is stuck.
///
/// # Errors
/// If the object's type is not known or the cluster does not answer.
pub async fn run(args: &WhyArgs) -> Result<ExitCode> {
    let about = gather::parse(&args.object, &args.namespace)?;
    let client = super::connect_to(&args.instance, args.kubeconfig.as_deref()).await?;
    let cluster = gather::everything(&client, &args.namespace).await?;
    let answer = why(&cluster, &about, jiff::Timestamp::now());
    match args.output {
        Output::Text => print!("{answer}"),
        Output::Json => println!("{:#}", answer.to_json()),
    }
    Ok(ExitCode::from(match answer.state {
        State::Fine => 0,
        State::Working => 2,
        State::Stuck => 3,
    }))
}
