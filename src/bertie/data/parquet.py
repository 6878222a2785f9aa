"""Parquet, in batches of rows, through pyarrow (the extra ``parquet``)."""

from collections.abc import Iterator
from pathlib import Path

from bertie.data.record import Record
from bertie.errors import InputError
from bertie.extras import need

BATCH = 1024


def parquet_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a Parquet file.

    Raises:
        BertieError: pyarrow is not installed.
        InputError: the file cannot be read.
    """
    parquet = need("pyarrow.parquet", "parquet", "Reading Parquet files")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for fields in batch.to_pylist():
                    yield Record(fields, f"{path}, row {number}")
                    number += 1
    # pyarrow's errors are ValueErrors and OSErrors
    except (OSError, ValueError) as error:
        reason = (str(error) or "?").splitlines()[0].rstrip(".")
        raise InputError(f"The file {str(path)!r} cannot be read as Parquet: {reason}.") from error
