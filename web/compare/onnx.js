// An ONNX model of one MatMul, written by hand: a protobuf is tags, lengths and bytes.
const varint = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))]);
const number = (field, n) => [...varint(field << 3), ...varint(n)];
const bytes = (field, content) => [...varint((field << 3) | 2), ...varint(content.length), ...content];
const text = (field, words) => bytes(field, [...new TextEncoder().encode(words)]);

const FLOAT = 1;

export function matmulModel(n) {
  const dim = bytes(1, number(1, n));
  const type = bytes(1, [...number(1, FLOAT), ...bytes(2, [...dim, ...dim])]);
  const value = (name) => [...text(1, name), ...bytes(2, type)];
  const node = [...text(1, 'a'), ...text(1, 'b'), ...text(2, 'c'), ...text(4, 'MatMul')];
  const graph = [...bytes(1, node), ...text(2, 'product'), ...bytes(11, value('a')), ...bytes(11, value('b')), ...bytes(12, value('c'))];
  const opset = number(2, 17);
  return new Uint8Array([...number(1, 8), ...bytes(7, graph), ...bytes(8, opset)]);
}
