"""Documents in Parquet: equal rows, equal bytes; read back in order; damage is named."""

import pytest

from sparing.base.errors import ArtefactError
from sparing.data import parquet
from sparing.data.parquet import COLUMNS, SplitWriter, Writer, documents, rows

ROWS = [(f"text {n} \u20ac\n" * (n % 7 + 1), f"s/{n}", "text", f"{n:064x}") for n in range(500)]


def _write(path):
    with Writer(path, COLUMNS) as writer:
        for row in ROWS:
            writer.add(*row)
    return path


def test_rows_come_back_in_order(tmp_path):
    path = _write(tmp_path / "a.parquet")
    assert list(rows(path, COLUMNS, batch=64)) == ROWS
    assert list(rows(path, ("kind", "text")))[3] == ("text", ROWS[3][0])


def test_another_reader_agrees_and_the_file_is_zstd(tmp_path):
    reader = pytest.importorskip("pyarrow.parquet")
    path = _write(tmp_path / "a.parquet")
    assert reader.read_table(path).to_pydict()["source"] == [row[1] for row in ROWS]
    assert reader.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_equal_rows_give_equal_bytes(tmp_path):
    one, two = _write(tmp_path / "a.parquet"), _write(tmp_path / "b.parquet")
    assert one.read_bytes() == two.read_bytes()


def test_a_split_is_divided_into_files_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FILE_BYTES", 2000)
    writer = SplitWriter(tmp_path, "train")
    for row in ROWS:
        writer.add(*row)
    writer.close()
    assert len(writer.files) > 5
    assert sorted(path.name for path in tmp_path.iterdir()) == writer.files
    assert list(documents(tmp_path, "train", COLUMNS)) == ROWS
    assert writer.tree() == {
        "documents": 500,
        "bytes": sum(len(row[0].encode()) for row in ROWS),
        "files": writer.files,
    }


def test_damage_and_missing_columns_are_named(tmp_path):
    path = _write(tmp_path / "a.parquet")
    with pytest.raises(ArtefactError, match="no column digest"):
        list(rows(path, ("digest",)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtefactError, match=r"a\.parquet"):
        list(rows(path, COLUMNS))
    with pytest.raises(ArtefactError, match="nowhere"):
        list(rows(tmp_path / "nowhere", COLUMNS))
