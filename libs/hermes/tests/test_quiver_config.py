"""What is wrong in a configuration, with file and field."""

import pytest
from hermes import quiver as qv

PLAIN = """\
name: "net"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
STATEFUL = (
    PLAIN
    + """\
sequence_batching {
  direct { }
  state [ {
    input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 3 ]
    initial_state: { name: "zero" data_type: TYPE_FP32 dims: [ 3 ] zero_data: true }
  } ]
}
"""
)
ENSEMBLE = """\
platform: "ensemble"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 16 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [
  { model_name: "a" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "m" } },
  { model_name: "b" model_version: 2
    input_map { key: "x" value: "m" } output_map { key: "y" value: "y" } }
] }
"""


@pytest.mark.parametrize("text", [PLAIN, STATEFUL, ENSEMBLE])
def test_good_ones_are_read_and_written_alike(text: str) -> None:
    config = qv.parse_config(text, "repo/net/config.pbtxt")
    assert config.name == "net"
    written = qv.format_config(config)
    assert qv.parse_config(written, "repo/net/config.pbtxt") == config
    assert qv.format_config(qv.parse_config(written, "repo/net/config.pbtxt")) == written


def edit(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


GROUP = "instance_group [ { count: 1 } ]"
WRONG = [
    (edit(PLAIN, "name:", "name;"), "line 1: "),
    (edit(PLAIN, "dims: [ 2, 16 ]", "dims: [ 2, 1.5 ]"), "line 4: "),
    (edit(PLAIN, "max_batch_size", "batch"), 'line 3: unknown field "batch"'),
    (edit(PLAIN, '"net"', '"nets"'), 'name is "nets", but the folder is "net"'),
    (edit(PLAIN, "onnxruntime_onnx", "keras"), 'platform is "keras": set platform to one of'),
    (edit(PLAIN, 'platform: "onnxruntime_onnx"', ""), "neither platform nor backend is set"),
    (edit(PLAIN, ": 8", ": -8"), "max_batch_size is -8"),
    (edit(PLAIN, "input [", "batch_input [").replace('name: "x"', ""), "unknown field"),
    (PLAIN[: PLAIN.index("input")] + PLAIN[PLAIN.index("output") :], "input is missing"),
    (PLAIN[: PLAIN.index("output")], "output is missing"),
    (edit(PLAIN, 'name: "x"', ""), r"input\[0\]\.name is missing"),
    (PLAIN + PLAIN[PLAIN.index("input") : PLAIN.index("output")], 'input "x" is there twice'),
    (edit(PLAIN, "data_type: TYPE_FP32", ""), 'input "x": data_type is missing'),
    (edit(PLAIN, "TYPE_FP32", "TYPE_STRING"), 'input "x": data_type is one that arrays'),
    (edit(PLAIN, "TYPE_FP32", "TYPE_REAL"), "line 4: .*TYPE_REAL"),
    (edit(PLAIN, "dims: [ 1 ]", ""), 'output "y": dims is missing'),
    (edit(PLAIN, "[ 2, 16 ]", "[ 2, 0 ]"), 'input "x": dims has 0'),
    (edit(PLAIN, "[ 2, 16 ]", "[ 2, -2 ]"), 'input "x": dims has -2'),
    (PLAIN + edit(GROUP, "1", "-1"), r"instance_group\[0\]\.count is -1"),
    (PLAIN + edit(GROUP, "count: 1", "kind: KIND_TPU"), "line 6: .*KIND_TPU"),
    (PLAIN + edit(GROUP, "count: 1", "kind: KIND_CPU gpus: 0"), "kind is KIND_CPU, but gpus"),
    (PLAIN + edit(GROUP, "count: 1", "gpus: -1"), r"instance_group\[0\]\.gpus"),
    (PLAIN + "version_policy { specific { } }", "version_policy.specific.versions is empty"),
    (PLAIN + "version_policy { specific { versions: 0 } }", "has a number below 1"),
    (PLAIN + "sequence_batching { oldest { } }", "max_candidate_sequences is 0"),
    (
        PLAIN + 'parameters { key: "hermes.memory" value { string_value: "-1" } }',
        'parameter hermes.memory is "-1": it is a whole number',
    ),
    (
        PLAIN + 'parameters { key: "hermes.pinned" value { string_value: "1;2" } }',
        'parameter hermes.pinned is "1;2"',
    ),
    (STATEFUL + "dynamic_batching { }", "line 13: .*dynamic_batching"),
    (edit(STATEFUL, '"s"', '"x"'), r'state\[0\]\.input_name "x" is the name of an input too'),
    (edit(STATEFUL, '"t"', '"y"'), r'state\[0\]\.output_name "y" is the name of an output too'),
    (edit(STATEFUL, 'output_name: "t"', ""), r"state\[0\]\.output_name is missing"),
    (
        edit(STATEFUL, "TYPE_FP32 dims: [ 3 ]", "TYPE_FP64 dims: [ 3 ]"),
        "not the state's data_type",
    ),
    (edit(STATEFUL, "zero_data: true", ""), 'state "s": initial_state: set zero_data'),
    (
        edit(STATEFUL, "dims: [ 3 ]", "dims: [ 4 ]"),
        r"dims is \[3\], but .* \[4\]",
    ),
    (
        edit(STATEFUL, "dims: [ 3 ]", "dims: [ -1 ]").split("    initial_state")[0] + "} ] }",
        'state "s": dims has -1',
    ),
    (edit(PLAIN, "onnxruntime_onnx", "pytorch_libtorch"), "input names are x: TorchScript knows"),
    (edit(ENSEMBLE, "ensemble", "onnxruntime_onnx"), "platform is not ensemble"),
    (ENSEMBLE[: ENSEMBLE.index("ensemble_s")], "ensemble_scheduling.step is missing"),
    (ENSEMBLE + GROUP, "an ensemble has no instances"),
    (edit(ENSEMBLE, 'model_name: "a"', ""), r"step\[0\]\.model_name is missing"),
    (edit(ENSEMBLE, "model_version: -1", ""), r"step\[0\]\.model_version is 0"),
    (
        edit(ENSEMBLE, 'output_map { key: "y" value: "m" }', ""),
        r"\[0\]\.output_map is missing",
    ),
    (edit(ENSEMBLE, 'value: "m"', 'value: "k"'), r'step\[1\]\.input_map: nothing gives "m"'),
    (edit(ENSEMBLE, 'value: "m"', 'value: "x"'), '"x" comes from an input of the ensemble too'),
    (edit(ENSEMBLE, 'value: "m"', 'value: "y"'), r'"y" comes from step\[0\] too'),
    (edit(ENSEMBLE, 'name: "y"', 'name: "z"'), 'output "z": no step gives it'),
    (
        edit(ENSEMBLE, 'input_map { key: "x" value: "x" }', 'input_map { key: "x" value: "y" }'),
        r"step\[0\] \(a\), step\[1\] \(b\) wait for each other",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_ones(text: str, message: str) -> None:
    with pytest.raises(qv.RepositoryError, match=message) as caught:
        qv.parse_config(text, "s3://bucket/net/config.pbtxt")
    assert str(caught.value).startswith("s3://bucket/net/config.pbtxt: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(qv.RepositoryError, match=r"net/config\.pbtxt: not the text"):
        qv.parse_config(b"\xff\xfe\x00", "net/config.pbtxt")


def test_order_of_steps() -> None:
    text = edit(ENSEMBLE, 'key: "x" value: "x"', 'key: "x" value: "n"')
    text = edit(text, 'key: "x" value: "m"', 'key: "x" value: "x"')
    text = edit(text, 'key: "y" value: "y"', 'key: "y" value: "n"')
    text = edit(text, 'key: "y" value: "m"', 'key: "y" value: "y"')
    assert qv.order_steps(qv.parse_config(text, "net/config.pbtxt")) == [1, 0]
