//! The versions under a models directory, and which one a name means.

use std::path::{Path, PathBuf};

use super::ArtifactError;

/// Finds the artifact that `model` means: a directory, a name (the highest version), or `name@version`.
///
/// # Errors
/// There is none; the message lists what there is.
pub fn find(models_dir: &Path, model: &str) -> Result<PathBuf, ArtifactError> {
    let looks_like_path = model.contains(['/', '\\']) || model.starts_with('.');
    let path = Path::new(model);
    if path.join("manifest.json").is_file() || path.is_file() || looks_like_path {
        return named_directory(path);
    }
    let (name, version) =
        model.split_once('@').map_or((model, None), |(name, version)| (name, Some(version)));
    // No name is no model, though the directory exists.
    let dir = if name.is_empty() { models_dir.to_owned() } else { models_dir.join(name) };
    let not_found = |problem: String| ArtifactError::NotFound { path: dir.clone(), problem };
    if name.is_empty() || !dir.is_dir() {
        let names = names(models_dir);
        return Err(not_found(if names.is_empty() {
            format!("`{}` holds no models", models_dir.display())
        } else {
            format!("`{}` holds {}", models_dir.display(), names.join(", "))
        }));
    }
    let versions = versions(&dir);
    let known = || versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match version {
        None => versions.last().map(|version| dir.join(version.to_string())).ok_or_else(|| {
            not_found(
                "it has no version, that is no directory named by a semantic version".to_owned(),
            )
        }),
        Some(version) => {
            let wanted = semver::Version::parse(version).map_err(|_not_semantic| {
                not_found(format!("`{version}` is not a version; there are: {}", known()))
            })?;
            if versions.contains(&wanted) {
                Ok(dir.join(wanted.to_string()))
            } else {
                Err(not_found(format!("there is no version {wanted}; there are: {}", known())))
            }
        }
    }
}

/// A path that is an artifact, or the directory of a model (then its highest version).
fn named_directory(path: &Path) -> Result<PathBuf, ArtifactError> {
    if path.is_dir()
        && !path.join("manifest.json").is_file()
        && let Some(highest) = versions(path).last()
    {
        return Ok(path.join(highest.to_string()));
    }
    Ok(path.to_owned())
}

/// The names of the models in the directory, sorted.
#[must_use]
pub fn names(models_dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = directories(models_dir)
        .into_iter()
        .filter(|name| !versions(&models_dir.join(name)).is_empty())
        .collect();
    names.sort();
    names
}

/// The versions of a model, lowest first.
#[must_use]
pub fn versions(model_dir: &Path) -> Vec<semver::Version> {
    let mut versions: Vec<semver::Version> = directories(model_dir)
        .iter()
        .filter_map(|name| semver::Version::parse(name).ok())
        .collect();
    versions.sort();
    versions
}

fn directories(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
