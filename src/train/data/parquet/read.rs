//! The rows of one file.

use std::fmt::Display;
use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use super::{MAX_BYTES, Rows, columns};
use crate::error::{Error, Result};

/// Adds the rows of `path`; gives the names of the classes, where it says them.
pub(super) fn read(path: &Path, rows: &mut Rows) -> Result<Option<Vec<String>>> {
    // The crate panics on some damage; what it had added to `rows` is of no use then.
    let read = AssertUnwindSafe(|| read_whole(path, rows));
    panic::catch_unwind(read)
        .unwrap_or_else(|_| Err(damaged(path, &"its parts contradict each other")))
}

fn damaged(path: &Path, err: &dyn Display) -> Error {
    let found = format!("damage ({err})");
    Error::malformed(path, "file", "a whole Parquet file", found)
}

/// Whether the column's bytes lie in the file.
fn is_inside(column: &ColumnChunkMetaData, len: u64) -> bool {
    let start = column
        .dictionary_page_offset()
        .unwrap_or(column.data_page_offset());
    let end = start.checked_add(column.compressed_size());
    let ordered = start >= 0 && column.compressed_size() >= 0;
    ordered && end.is_some_and(|end| end as u64 <= len)
}

fn read_whole(path: &Path, rows: &mut Rows) -> Result<Option<Vec<String>>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let len = file
        .metadata()
        .map_err(Error::io("read the size of", path))?
        .len();
    let damaged = |err: &dyn Display| damaged(path, err);
    let reader = SerializedFileReader::new(file).map_err(|err| damaged(&err))?;
    let columns = columns::find(reader.metadata().file_metadata())
        .map_err(|(expected, found)| Error::malformed(path, "schema", expected, found))?;
    let groups = reader.metadata().row_groups();
    let inside = |column: usize| {
        groups
            .iter()
            .all(|group| is_inside(group.column(column), len))
    };
    if !inside(columns.image) || !inside(columns.label) {
        return Err(damaged(&"a column that lies outside of it"));
    }
    let sizes = groups
        .iter()
        .map(|group| group.column(columns.image).uncompressed_size());
    let bytes = sizes.fold(rows.bytes.len() as u64, |sum, size| {
        sum.saturating_add(size.max(0) as u64)
    });
    if bytes > MAX_BYTES {
        let reason = format!(
            "brings the images to {bytes} bytes, more than the {MAX_BYTES} that are held in memory: \
             unpack them into folders"
        );
        return Err(Error::refused(path, reason));
    }
    let mut row = 0;
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(|err| damaged(&err))?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let group = Group {
            reader: &*group,
            path,
            first: row,
            count,
        };
        group.images(columns.image, rows)?;
        group.labels(columns.label, rows)?;
        row += count;
    }
    Ok(columns.classes)
}

struct Group<'a> {
    reader: &'a dyn RowGroupReader,
    path: &'a Path,
    /// The number of its first row in the file.
    first: usize,
    count: usize,
}

impl Group<'_> {
    fn images(&self, column: usize, rows: &mut Rows) -> Result<()> {
        let ColumnReader::ByteArrayColumnReader(reader) = self.column(column)? else {
            unreachable!("the column was chosen for its type");
        };
        for image in self.values(reader, "image")? {
            rows.bytes.extend_from_slice(image.data());
            rows.ends.push(rows.bytes.len());
        }
        Ok(())
    }

    fn labels(&self, column: usize, rows: &mut Rows) -> Result<()> {
        let labels: Vec<i64> = match self.column(column)? {
            ColumnReader::Int32ColumnReader(reader) => {
                let labels = self.values(reader, "label")?;
                labels.into_iter().map(i64::from).collect()
            }
            ColumnReader::Int64ColumnReader(reader) => self.values(reader, "label")?,
            _ => unreachable!("the column was chosen for its type"),
        };
        for (row, label) in labels.into_iter().enumerate() {
            let label = u32::try_from(label).map_err(|_| {
                let expected = "the number of a class";
                Error::malformed(self.path, self.place("label", row), expected, label)
            })?;
            rows.labels.push(label);
        }
        Ok(())
    }

    fn place(&self, what: &str, row: usize) -> String {
        format!("row {}: {what}", self.first + row)
    }

    fn column(&self, column: usize) -> Result<ColumnReader> {
        let reader = self.reader.get_column_reader(column);
        reader.map_err(|err| damaged(self.path, &err))
    }

    /// The values of the group's rows; each must have one.
    fn values<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        what: &str,
    ) -> Result<Vec<T::T>> {
        let (mut values, mut levels, mut seen) = (Vec::new(), Vec::new(), 0);
        while seen < self.count {
            let read = reader.read_records(self.count - seen, Some(&mut levels), None, &mut values);
            let (records, _, _) = read.map_err(|err| damaged(self.path, &err))?;
            if records == 0 {
                break;
            }
            seen += records;
        }
        if values.len() == self.count {
            return Ok(values);
        }
        let full = levels.iter().max().copied().unwrap_or_default();
        let missing = levels.iter().position(|level| *level < full);
        let place = self.place(what, missing.unwrap_or(values.len().min(levels.len())));
        Err(Error::malformed(self.path, place, "a value", "none"))
    }
}
