//! The zip archive that `torch.save` writes: `NAME/data.pkl` with the values, `NAME/data/KEY` with the storages.

use super::pickle::{Pickle, TensorView};
use std::collections::HashMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Largest pickle that is read, bytes; the pickle of a model of 64 blocks with its optimiser has half a megabyte.
const MAX_PICKLE: u64 = 4 << 20;
/// How many times the archive's size all its entries together may decompress to. torch.save does not compress, and trained
/// weights can hardly be compressed.
const MAX_EXPANSION: u64 = 16;

/// An opened archive.
pub(super) struct TorchArchive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Beginning of every entry's name, such as "archive/".
    prefix: String,
    /// Size of the archive, bytes.
    n_bytes: u64,
    /// Bytes that may still be decompressed.
    left: u64,
    /// Storages read so far, by key, since tensors may share one.
    storages: HashMap<String, Vec<u8>>,
}

impl<'a> TorchArchive<'a> {
    /// Opens the archive `bytes` and reads its pickle.
    ///
    /// # Errors
    /// A phrase for a sentence: not a zip archive, an archive that torch did not write, or big-endian.
    pub fn open(bytes: &'a [u8]) -> Result<(Self, Pickle), String> {
        let n_bytes = bytes.len() as u64;
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| {
            format!("not a whole zip archive, as torch.save has written them since PyTorch 1.6: {error}")
        })?;
        let is_pickle = |name: &&[u8]| *name == b"data.pkl" || name.ends_with(b"/data.pkl");
        let name = zip.file_names_raw().filter(is_pickle).min_by_key(|name| name.len());
        let name = name.and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
        let name = name.ok_or("the archive holds no data.pkl: torch.save did not write it")?;
        let prefix = name[..name.len() - "data.pkl".len()].to_owned();
        let left = n_bytes.saturating_mul(MAX_EXPANSION);
        let mut archive = TorchArchive { zip, prefix, n_bytes, left, storages: HashMap::new() };
        if archive.zip.index_for_name(&format!("{}byteorder", archive.prefix)).is_some()
            && archive.read("byteorder", 16)? != b"little"
        {
            return Err(
                "the checkpoint was written on a big-endian machine: save it again on a little-endian one".into()
            );
        }
        let pickle = Pickle::parse(&archive.read("data.pkl", MAX_PICKLE)?)?;
        Ok((archive, pickle))
    }

    /// Refuses more parameters than the archive can hold. Many tensors may view one storage.
    ///
    /// # Errors
    /// A sentence.
    pub fn check_room(&self, n_parameters: usize) -> Result<(), String> {
        let most = self.n_bytes.saturating_mul(MAX_EXPANSION) / 4;
        if n_parameters as u64 > most {
            let n_bytes = self.n_bytes;
            return Err(format!("its shapes ask for {n_parameters} parameters, more than {n_bytes} bytes can hold"));
        }
        Ok(())
    }

    /// The elements of a float tensor in row-major order.
    ///
    /// # Errors
    /// A phrase that follows "the tensor NAME": the type is not float, or the storage is missing, has another size, or is too
    /// small for the view.
    pub fn elements(&mut self, view: &TensorView) -> Result<Vec<f64>, String> {
        let width = match &view.storage_class[..] {
            "torch.FloatStorage" => 4,
            "torch.DoubleStorage" => 8,
            other => {
                return Err(format!("is stored as {other}, but must be torch.FloatStorage or torch.DoubleStorage"));
            }
        };
        let n_bytes = view.n_stored.checked_mul(width).ok_or("reaches beyond its storage")?;
        if !self.storages.contains_key(&view.key) {
            let bytes = self.read(&format!("data/{}", view.key), n_bytes);
            self.storages.insert(view.key.clone(), bytes.map_err(|error| format!("has no storage: {error}"))?);
        }
        let bytes = &self.storages[&view.key];
        if bytes.len() as u64 != n_bytes {
            return Err(format!("has a storage of {} bytes instead of {n_bytes}", bytes.len()));
        }
        let indices = row_major(view).ok_or("reaches beyond its storage")?;
        let element = |index: usize| match width {
            4 => f64::from(f32::from_le_bytes(bytes.as_chunks().0[index])),
            _ => f64::from_le_bytes(bytes.as_chunks().0[index]),
        };
        Ok(indices.into_iter().map(element).collect())
    }

    /// The entry `name` below the prefix, at most `limit` bytes.
    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let name = format!("{}{name}", self.prefix);
        let entry =
            self.zip.by_name(&name).map_err(|error| format!("{name} cannot be read from the archive: {error}"))?;
        let mut bytes = Vec::new();
        let read = entry.take(limit.min(self.left).saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| format!("{name} cannot be read from the archive: {error}"))?;
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(format!("{name} decompresses to more than {MAX_EXPANSION} times the archive's size"));
        };
        self.left = left;
        if bytes.len() as u64 > limit {
            return Err(format!("{name} in the archive is larger than the {limit} bytes expected"));
        }
        Ok(bytes)
    }
}

/// Positions in the storage of a view's elements, row-major. `None` if one is outside, or if there are more of them than the
/// storage has elements, which never happens with weights.
fn row_major(view: &TensorView) -> Option<Vec<usize>> {
    if view.shape.contains(&0) {
        return Some(Vec::new());
    }
    let n = view.shape.iter().try_fold(1u64, |n, size| n.checked_mul(*size))?;
    let mut last = view.offset;
    for (size, stride) in view.shape.iter().zip(&view.stride) {
        last = last.checked_add((size - 1).checked_mul(*stride)?)?;
    }
    if n > view.n_stored || last >= view.n_stored {
        return None;
    }
    let mut indices = vec![usize::try_from(view.offset).ok()?];
    for (size, stride) in view.shape.iter().zip(&view.stride) {
        let steps = 0..*size as usize;
        indices = indices.iter().flat_map(|start| steps.clone().map(move |k| start + k * *stride as usize)).collect();
    }
    Some(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn view(offset: u64, shape: &[u64], stride: &[u64]) -> TensorView {
        TensorView {
            storage_class: "torch.FloatStorage".into(),
            key: "0".into(),
            n_stored: 12,
            offset,
            shape: shape.to_vec(),
            stride: stride.to_vec(),
        }
    }

    /// A storage of zeros that deflates a thousandfold.
    #[test]
    fn inflated_storages_are_refused() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        for (name, content) in [("a/data.pkl", b"}.".to_vec()), ("a/data/0", vec![0; 4_000_000])] {
            zip.start_file(name, deflated).unwrap();
            zip.write_all(&content).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        let (mut archive, _) = TorchArchive::open(&bytes).unwrap();
        let complaint = archive.elements(&TensorView { n_stored: 1_000_000, ..view(0, &[2], &[1]) }).unwrap_err();
        assert_eq!(complaint, "has no storage: a/data/0 decompresses to more than 16 times the archive's size");
    }

    /// Many tensors may view one storage, which is decompressed once. Different storages share the limit of decompression.
    #[test]
    fn storages_are_read_once() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        let storages = (0..40).map(|k| (format!("a/data/{k}"), vec![0; 48]));
        for (name, content) in [("a/data.pkl".to_owned(), b"}.".to_vec())].into_iter().chain(storages) {
            zip.start_file(name, deflated).unwrap();
            zip.write_all(&content).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        let (mut archive, _) = TorchArchive::open(&bytes).unwrap();
        let left = archive.left;
        for _ in 0..100 {
            assert_eq!(archive.elements(&view(3, &[2], &[1])).unwrap(), [0.0; 2]);
        }
        assert_eq!(archive.left, left - 48);
        archive.left = 100;
        let other = |key: usize| TensorView { key: key.to_string(), ..view(0, &[2], &[1]) };
        assert!((1..3).all(|key| archive.elements(&other(key)).is_ok()));
        let complaint = archive.elements(&other(3)).unwrap_err();
        assert_eq!(complaint, "has no storage: a/data/3 decompresses to more than 16 times the archive's size");
        assert!(archive.check_room(16 * bytes.len() / 4).is_ok());
        assert_eq!(
            archive.check_room(1 << 40).unwrap_err(),
            format!("its shapes ask for 1099511627776 parameters, more than {} bytes can hold", bytes.len())
        );
    }

    #[test]
    fn strides_are_honoured() {
        assert_eq!(row_major(&view(0, &[2, 3], &[3, 1])), Some(vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(row_major(&view(1, &[2, 3], &[1, 4])), Some(vec![1, 5, 9, 2, 6, 10]));
        assert_eq!(row_major(&view(3, &[2, 2], &[0, 0])), Some(vec![3; 4]));
        assert_eq!(row_major(&view(7, &[], &[])), Some(vec![7]));
        assert_eq!(row_major(&view(7, &[0, 5], &[1, 1])), Some(vec![]));
    }

    #[test]
    fn views_beyond_the_storage_are_refused() {
        assert_eq!(row_major(&view(0, &[13], &[1])), None);
        assert_eq!(row_major(&view(12, &[1], &[1])), None);
        assert_eq!(row_major(&view(u64::MAX, &[2], &[u64::MAX])), None);
        assert_eq!(row_major(&view(1, &[2, 3], &[2, 5])), None);
        assert_eq!(row_major(&view(0, &[1 << 40], &[0])), None);
        assert_eq!(row_major(&view(0, &[1 << 40, 1 << 40], &[0, 0])), None);
    }
}
