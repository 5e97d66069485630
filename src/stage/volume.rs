//! A deployment's volume: where its agent keeps the store, and how the next deployment gets a copy.

use std::io;
use std::path::{Path, PathBuf};

use crate::stage::StageError;

/// Copies the store in `from` to `to`, while an agent may be writing to it.
pub async fn copy(from: PathBuf, to: PathBuf) -> Result<(), StageError> {
    let (from_dir, to_dir) = (from.clone(), to.clone());
    let copied = tokio::task::spawn_blocking(move || clone_store(&from_dir, &to_dir)).await;
    match copied {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(StageError::CloneVolume { from, to, source: Box::new(source) }),
        Err(panic) => Err(StageError::CloneVolume { from, to, source: Box::new(panic) }),
    }
}

/// Stands in for the store's own `clone_store` (an online backup) until the rooms are joined.
fn clone_store(from_dir: &Path, to_dir: &Path) -> Result<(), io::Error> {
    for entry in std::fs::read_dir(from_dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to_dir.join(entry.file_name()))?;
        }
    }
    Ok(())
}
