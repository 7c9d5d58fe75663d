"""JSON in any dress, and what is refused."""

import codecs
import gzip
import pickle

import pytest

from hero_mm.json_reader import JsonError, Repeated, read_json


@pytest.mark.parametrize(
    'pack',
    [
        bytes,
        gzip.compress,
        lambda data: codecs.BOM_UTF8 + data,
        lambda data: gzip.compress(codecs.BOM_UTF8 + data),
        lambda data: data.decode().encode('utf-16'),
    ],
)
def test_json_in_any_dress(tmp_path, pack):
    path = tmp_path / 'x'
    path.write_bytes(pack('{"caf\u00e9": [{"a": 1}]}'.encode()))
    assert read_json(path) == {'caf\u00e9': [{'a': 1}]}
    objects = []
    read_json(path, objects.append)
    assert objects == [{'a': 1}, {'caf\u00e9': [None]}]


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (b'{"a": ', '6 bytes: not valid JSON'),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-9], 'no whole gzip file'),
        (b'[' + b'9' * 5000 + b']', r'5002 bytes: not valid JSON .*5000 dig'),
        (b'{"a": "\xff"}', 'byte 7: not text'),
        (b'[' * 100_000, 'not valid JSON .*recursion'),
        (b'{"a": 1, "a": 1}', "the top level: the key 'a' stands twice"),
        (b'{"a": [0, {"b": 1, "b": 2}]}', "'a' > 1: the key 'b' stands tw"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, data, message):
    path = tmp_path / 'x.json'
    path.write_bytes(data)
    with pytest.raises(JsonError, match=message) as error:
        read_json(path)
    assert str(error.value).startswith(f'{path}, ')
    # As workers hand it over.
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value)


def test_repeated_keys_are_kept_where_they_are_wanted(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text('{"a": {}, "a": {"b": 1}}')
    found = read_json(path, keep_repeated=True)
    assert isinstance(found, Repeated)
    assert found == [('a', {}), ('a', {'b': 1})]
