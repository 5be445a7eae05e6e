// Writes pgoutput messages byte by byte, as the protocol's page lays them out: the other side of
// the parsers under test, and independent of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::testing {

class Bytes {
 public:
  Bytes& raw(std::string_view text) { return out_ += text, *this; }
  Bytes& u8(uint64_t n) { return number(n, 1); }
  Bytes& u16(uint64_t n) { return number(n, 2); }
  Bytes& u32(uint64_t n) { return number(n, 4); }
  Bytes& u64(uint64_t n) { return number(n, 8); }
  Bytes& c_string(std::string_view text) { return raw(text).u8(0); }
  operator std::string() const { return out_; }

 private:
  Bytes& number(uint64_t n, int width) {
    for (int i = width - 1; i >= 0; --i) out_.push_back(static_cast<char>(n >> (8 * i)));
    return *this;
  }
  std::string out_;
};

// A cell of a tuple: text, or one of the letters n and u.
struct Cell {
  Cell(const char* value) : text(value) {}
  Cell(std::string value) : text(std::move(value)) {}
  Cell(char mark) : letter(mark) {}
  char letter = 't';
  std::string text;
};
using Cells = std::vector<Cell>;

struct ColumnSpec {
  std::string name;
  uint32_t type = 25;
  bool key = false;
};

inline std::string tuple(const Cells& cells) {
  Bytes out;
  out.u16(cells.size());
  for (const Cell& cell : cells) {
    out.raw(std::string(1, cell.letter));
    if (cell.letter == 't') out.u32(cell.text.size()).raw(cell.text);
  }
  return out;
}

inline std::string begin(uint64_t lsn, uint64_t time = 0, uint32_t xid = 7) {
  return Bytes().raw("B").u64(lsn).u64(time).u32(xid);
}
inline std::string commit(uint64_t lsn, uint64_t end, uint64_t time = 0) {
  return Bytes().raw("C").u8(0).u64(lsn).u64(end).u64(time);
}
inline std::string origin(uint64_t lsn, std::string_view name) {
  return Bytes().raw("O").u64(lsn).c_string(name);
}
inline std::string type(uint32_t oid, std::string_view schema, std::string_view name) {
  return Bytes().raw("Y").u32(oid).c_string(schema).c_string(name);
}
inline std::string relation(uint32_t oid, std::string_view schema, std::string_view name,
                            char identity, const std::vector<ColumnSpec>& columns) {
  Bytes out;
  out.raw("R").u32(oid).c_string(schema).c_string(name).raw(std::string(1, identity));
  out.u16(columns.size());
  for (const ColumnSpec& column : columns) {
    out.u8(column.key ? 1 : 0).c_string(column.name).u32(column.type).u32(0xFFFFFFFF);
  }
  return out;
}
inline std::string insert(uint32_t oid, const Cells& cells) {
  return Bytes().raw("I").u32(oid).raw("N").raw(tuple(cells));
}
inline std::string update(uint32_t oid, const Cells& cells) {
  return Bytes().raw("U").u32(oid).raw("N").raw(tuple(cells));
}
inline std::string update(uint32_t oid, char old, const Cells& before, const Cells& cells) {
  return Bytes()
      .raw("U")
      .u32(oid)
      .raw(std::string(1, old))
      .raw(tuple(before))
      .raw("N")
      .raw(tuple(cells));
}
inline std::string remove(uint32_t oid, char old, const Cells& before) {
  return Bytes().raw("D").u32(oid).raw(std::string(1, old)).raw(tuple(before));
}
inline std::string truncate(const std::vector<uint32_t>& oids, uint8_t options = 0) {
  Bytes out;
  out.raw("T").u32(oids.size()).u8(options);
  for (const uint32_t oid : oids) out.u32(oid);
  return out;
}
inline std::string message(bool transactional, uint64_t lsn, std::string_view prefix,
                           std::string_view content) {
  return Bytes()
      .raw("M")
      .u8(transactional ? 1 : 0)
      .u64(lsn)
      .c_string(prefix)
      .u32(content.size())
      .raw(content);
}

// A message as it stands in a block of an open transaction.
inline std::string in_stream(uint32_t xid, const std::string& message) {
  return Bytes().raw(message.substr(0, 1)).u32(xid).raw(message.substr(1));
}
inline std::string stream_start(uint32_t xid, bool first) {
  return Bytes().raw("S").u32(xid).u8(first ? 1 : 0);
}
inline std::string stream_stop() { return "E"; }
inline std::string stream_commit(uint32_t xid, uint64_t lsn, uint64_t end, uint64_t time = 0) {
  return Bytes().raw("c").u32(xid).u8(0).u64(lsn).u64(end).u64(time);
}
inline std::string stream_abort(uint32_t xid, uint32_t subxid) {
  return Bytes().raw("A").u32(xid).u32(subxid);
}

}  // namespace millrace::testing
