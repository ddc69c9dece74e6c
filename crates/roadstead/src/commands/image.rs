//! `roadstead image …`: works on the image store directly, whether the cluster runs or not.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use comfy_table::Table;
use images::{DiskImages, ImageError, Images};

use crate::cli::{ImageCommand, InstanceArgs};
use crate::instance::Instance;
use crate::progress::Meters;

/// Does what `image` was asked.
///
/// # Errors
/// With the archive or name that could not be handled.
pub async fn run(command: &ImageCommand) -> Result<ExitCode> {
    match command {
        ImageCommand::Import { instance, archives } => {
            let store = open(instance)?;
            for archive in archives {
                let imported = Meters::new(&store).during(store.import(archive)).await;
                let imported = imported.with_context(|| format!("import {}", archive.display()))?;
                for image in imported {
                    println!("imported {} ({})", image.names.join(", "), short(&image.id));
                }
            }
        }
        ImageCommand::List(instance) => {
            let mut table = Table::new();
            table.load_style(comfy_table::presets::NOTHING).set_header(["NAME", "ID", "SIZE"]);
            for image in open(instance)?.list().await? {
                for name in &image.names {
                    table.add_row([name.clone(), short(&image.id).to_owned(), megabytes(image.size_bytes)]);
                }
            }
            println!("{table}");
        }
        ImageCommand::Pull { instance, names } => {
            let store = open(instance)?;
            for name in names {
                let pulled = Meters::new(&store).during(store.pull(name, &BTreeMap::new())).await;
                let image = pulled.map_err(explained)?;
                println!("pulled {name} ({})", short(&image.id));
            }
        }
        ImageCommand::Rm { instance, names } => {
            let store = open(instance)?;
            for name in names {
                store.remove(name).await?;
                println!("removed {name}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(instance: &InstanceArgs) -> Result<DiskImages> {
    let instance = Instance::from_args(instance)?;
    Ok(DiskImages::open(&server::images_folder(&instance.data))?)
}

/// A registry's refusal, with what can be done about it.
fn explained(error: ImageError) -> anyhow::Error {
    match error {
        ImageError::Pull { .. } => anyhow!(
            "{error}\nwhat to do: check the name and the network; credentials are read from ~/.docker/config.json; an image \
             that no registry has comes here by `roadstead image import FILE`"
        ),
        other => other.into(),
    }
}

fn short(id: &str) -> &str {
    let digest = id.strip_prefix("sha256:").unwrap_or(id);
    digest.get(..12).unwrap_or(digest)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}
