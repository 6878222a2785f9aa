"""Labelled data: files and Python objects → records, in constant memory → labelled examples → splits."""

from bertie.data.annotations import is_refused
from bertie.data.format import Format
from bertie.data.record import BadRows, Record
from bertie.data.records import FORMS, Records, form_of, records, stream_records

__all__ = ["FORMS", "BadRows", "Format", "Record", "Records", "form_of", "is_refused", "records", "stream_records"]
