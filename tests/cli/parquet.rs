//! `seaworthy predict` from Parquet to Parquet: what is kept is copied, not read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int64Array, ListArray, RecordBatch, TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::helpers::seaworthy;

const MODEL: &str = "house-prices@3.2.0";
const CSV: &str = "tests/data/house-prices/test.csv";

/// All rows of a file, and the sizes of its groups of rows.
fn read(path: &Path) -> (RecordBatch, Vec<i64>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let groups = builder.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap();
    let mut batches = builder.with_batch_size(rows.max(1)).build().unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batches.next().is_none()), (rows, true));
    (batch, groups)
}

fn predict(input: &str, output: &Path, more: &[&str]) {
    let output = output.to_str().unwrap();
    let arguments = [&["predict", MODEL, input, "--output", output, "-q"], more].concat();
    let outcome = seaworthy(&arguments).outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{more:?}");
}

/// The houses in groups of 500 rows, with columns of types that no field has.
fn houses(dir: &Path) -> (std::path::PathBuf, RecordBatch) {
    let plain = dir.join("plain.parquet");
    predict(CSV, &plain, &["--on-invalid", "null", "--prefix", "before_"]);
    let (batch, _) = read(&plain);
    let n = i32::try_from(batch.num_rows()).unwrap();
    let lists = (0..n).map(|row| {
        (row % 5 != 0)
            .then(|| (0..row % 4).map(|item| Some(i64::from(item * row))).collect::<Vec<_>>())
    });
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
    let words = (0..batch.num_rows()).map(|row| ["one", "two", "three"].get(row % 4).copied());
    let words: ArrayRef = Arc::new(words.collect::<DictionaryArray<Int32Type>>());
    let times =
        TimestampMillisecondArray::from_iter_values((0..i64::from(n)).map(|row| row * 1000));
    let times: ArrayRef = Arc::new(times.with_timezone("Europe/Lisbon"));
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for (name, array) in [("lists", lists), ("words", words), ("times", times)] {
        fields.insert(1, Arc::new(Field::new(name, array.data_type().clone(), true)));
        columns.insert(1, array);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let path = dir.join("houses.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(500))
        .build();
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    (path, batch)
}

#[test]
fn what_is_kept_is_copied_as_it_is() {
    let tmp = tempfile::tempdir().unwrap();
    let (path, input) = houses(tmp.path());
    let input_path = path.to_str().unwrap();
    let expected = input.column_by_name("before_prediction").unwrap();
    let output = tmp.path().join("out.parquet");
    for (keep, columns) in [
        ("all", (0..input.num_columns()).collect::<Vec<_>>()),
        ("times,Id,lists,LotArea", vec![1, 0, 3, 7]),
        ("none", vec![]),
    ] {
        predict(input_path, &output, &["--on-invalid", "null", "--keep", keep]);
        let (found, groups) = read(&output);
        assert_eq!(groups, [500, 500, 459], "{keep}");
        let kept = input.project(&columns).unwrap();
        assert_eq!(found.columns()[..columns.len()], *kept.columns(), "{keep}");
        let types = |batch: &RecordBatch, n: usize| batch.schema().fields()[..n].to_vec();
        assert_eq!(types(&found, columns.len()), types(&kept, columns.len()), "{keep}");
        assert_eq!(found.num_columns(), columns.len() + 2);
        assert_eq!(found.column_by_name("prediction").unwrap(), expected, "{keep}");
        assert!(
            found
                .column_by_name("version")
                .unwrap()
                .as_string::<i32>()
                .iter()
                .all(|version| version == Some("3.2.0"))
        );
    }
    assert_eq!(expected.null_count(), 10);

    // Rows that are left out are not where they were, so what is kept is read and written again.
    predict(input_path, &output, &["--on-invalid", "skip"]);
    let (found, _) = read(&output);
    assert_eq!(found.num_rows(), input.num_rows() - expected.null_count());
    let lists =
        |batch: &RecordBatch| batch.column_by_name("lists").unwrap().as_list::<i32>().clone();
    let good: Vec<usize> = (0..input.num_rows()).filter(|row| expected.is_valid(*row)).collect();
    for (at, row) in good.iter().enumerate() {
        assert_eq!(lists(&found).is_null(at), lists(&input).is_null(*row));
        assert_eq!(
            lists(&found).value(at).as_primitive::<Int64Type>(),
            lists(&input).value(*row).as_primitive()
        );
        let number = |batch: &RecordBatch, name: &str, at| {
            batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(at).to_bits()
        };
        assert_eq!(number(&found, "prediction", at), number(&input, "before_prediction", *row));
    }

    // Two files into one: read and written again as well.
    let dir = tmp.path().join("both");
    std::fs::create_dir(&dir).unwrap();
    for name in ["1.parquet", "2.parquet"] {
        std::fs::copy(&path, dir.join(name)).unwrap();
    }
    predict(dir.to_str().unwrap(), &output, &["--on-invalid", "null"]);
    let (found, _) = read(&output);
    let n = input.num_rows();
    assert_eq!(found.num_rows(), 2 * n);
    for at in [0, n] {
        assert_eq!(found.slice(at, n).columns()[..input.num_columns()], *input.columns());
    }
}

#[test]
fn a_file_without_rows_gives_one_without_rows() {
    let tmp = tempfile::tempdir().unwrap();
    let (_, input) = houses(tmp.path());
    let empty = tmp.path().join("empty.parquet");
    let writer = ArrowWriter::try_new(File::create(&empty).unwrap(), input.schema(), None).unwrap();
    writer.close().unwrap();
    let output = tmp.path().join("out.parquet");
    predict(empty.to_str().unwrap(), &output, &[]);
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(&output).unwrap()).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 0);
    assert_eq!(file.schema().fields().len(), input.num_columns() + 2);
}

/// A column that nobody needs is not read, but it is still no field.
#[test]
fn a_column_that_is_not_read_is_refused_all_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    let (path, _) = houses(tmp.path());
    let output = tmp.path().join("out");
    for (format, keep) in [("parquet", "all"), ("parquet", "none"), ("csv", "Id")] {
        let arguments = ["predict", MODEL, path.to_str().unwrap(), "--format", format];
        let arguments =
            [&arguments[..], &["--keep", keep, "--output", output.to_str().unwrap()]].concat();
        let command = seaworthy(&arguments);
        let outcome = { command }.env("SEAWORTHY__SCHEMA__UNKNOWN_FIELDS", "reject").outcome();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("is no field of the model"), "{}", outcome.stderr);
    }
}

/// The groups of the input may have any size; rows come in blocks of another one.
#[test]
fn groups_of_any_size_are_copied() {
    let tmp = tempfile::tempdir().unwrap();
    let (_, input) = houses(tmp.path());
    let path = tmp.path().join("many.parquet");
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..9 * 1459));
    let mut writer = None;
    for part in 0..9 {
        let mut columns = input.columns().to_vec();
        columns.push(numbers.slice(part * 1459, 1459));
        let mut fields = input.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("number", numbers.data_type().clone(), false)));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(&path).unwrap();
            ArrowWriter::try_new(file, batch.schema(), None).unwrap()
        });
        writer.write(&batch).unwrap();
        if part % 2 == 0 {
            writer.flush().unwrap();
        }
    }
    writer.unwrap().close().unwrap();
    let output = tmp.path().join("out.parquet");
    predict(
        path.to_str().unwrap(),
        &output,
        &["--on-invalid", "null", "--keep", "number,before_prediction"],
    );
    let (found, groups) = read(&output);
    assert_eq!(groups, [1459, 2918, 2918, 2918, 2918]);
    assert_eq!(found.column(0), &numbers);
    assert_eq!(found.column(1), found.column(2));
}
