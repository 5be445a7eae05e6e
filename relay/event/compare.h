// compare: what is asked of two databases to tell whether they hold the same rows, as SQL that both
// understand, and the interfaces behind which it is asked.
//
// Rows are compared in one canonical text: each column's text form under the pinned session
// settings, all of a row together as ROW(…)::text, which keeps NULL and '' apart. numeric 1.0 and
// 1.00 differ. A side presents a table as a derived table r(k0 …, c0 …, m): the key in its own
// types, the columns as text, and the row's mark, which is the tuple (place and writer) in the
// source and the version in the target. It shares no SQL with what writes the target. No state; no
// connection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/ids.h"
#include "relay/base/result.h"
#include "relay/event/visibility_mark.h"

namespace millrace::compare {

// Values of the key's columns as text, in the table's column order; never NULL.
using Key = std::vector<std::string>;

// Keys behind `after` up to and with `until`, in the order of the key's index.
struct Range {
  std::optional<Key> after, until;
};

struct Sum {
  uint64_t rows = 0;
  std::string hash;       // sum of the rows' hashes
  uint64_t changing = 0;  // rows with a mark from the floor on
  std::string marks;      // whole(): sum of the hashes of the marks
};

struct Digest {
  Key key;
  std::string hash;
  std::string mark;
};

struct Row {
  std::vector<std::optional<std::string>> hashes;  // one a column; nullopt: NULL
  std::vector<std::optional<std::string>> values;  // their beginnings, where they were asked for
  std::string mark;
};

// One side's rows; tables are numbered as the Sides that it was made with. Errors: the
// connection's.
class Reader {
 public:
  virtual ~Reader() = default;
  // The key of the row number `rows` in the range; nullopt: it has fewer.
  virtual Result<std::optional<Key>> boundary(size_t table, const Range& range, uint64_t rows) = 0;
  virtual Result<uint64_t> count(size_t table, const Range& range) = 0;
  virtual Result<Sum> sum(size_t table, const Range& range, const std::string& floor) = 0;
  virtual Result<Sum> whole(size_t table) = 0;
  virtual Result<std::vector<Digest>> digests(size_t table, const Range& range) = 0;
  // One for each key, in order.
  virtual Result<std::vector<std::optional<Row>>> rows(size_t table, std::span<const Key> keys,
                                                       bool values) = 0;
};

// The source as a place in the WAL. See relay/source/visibility.h.
class SourceClock {
 public:
  using Mark = VisibilityMark;
  virtual ~SourceClock() = default;
  virtual Result<Mark> mark() = 0;
  virtual Result<bool> seen(const Mark& mark) = 0;
  virtual Result<std::string> waiting_for(const Mark& mark) = 0;
  virtual Result<Lsn> end_of_wal() = 0;
  // Writes something that the stream carries, so that an idle one moves beyond here.
  virtual Status nudge() = 0;
};

// The target as a place in the stream.
class TargetClock {
 public:
  struct Place {
    Lsn applied;
    uint32_t epoch = 1;
  };
  virtual ~TargetClock() = default;
  virtual Result<Place> applied() = 0;
  // Opens a snapshot for what is read until end(), and says what it contains.
  virtual Result<Place> begin() = 0;
  virtual void end() = 0;
};

// A table as one side's catalog has it.
struct TableShape {
  struct Column {
    std::string name;
    std::string type;        // as SQL, with its modifier
    std::string plain_type;  // without
    bool generated = false;
    std::string fallback = "";  // of the target: its DEFAULT as text, where that is a constant
  };
  bool exists = false;          // as a table, or a partitioned one
  bool is_partitioned = false;  // rows are in other tables
  std::vector<Column> columns;
  std::vector<std::string> key_index;  // of the source: the identifying index' columns, in order

  const Column* find(std::string_view column) const;
};

// How a side presents one table.
struct Side {
  std::string from;                  // the one item of FROM
  std::string where;                 // a condition over it; empty: every row
  std::vector<std::string> keys;     // SQL over it, in the table's column order
  std::vector<std::string> types;    // of the keys, as SQL
  std::vector<size_t> order;         // the keys in the order of their index
  std::vector<std::string> columns;  // SQL over it that gives text
  std::string mark;                  // likewise
};

struct Query {
  std::string sql;
  std::vector<std::string> parameters;  // $1 …, in text form
};

// Rows of values in text form.
using Grid = std::vector<std::vector<std::optional<std::string>>>;

// Runs a query on one side.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual Result<Grid> run(std::string_view doing, const Query& query) = 0;
};

// How text becomes 64 bits. `plain` is fast, and the same on servers of one encoding and byte
// order; `portable` on all.
enum class Hash : uint8_t { plain, portable };
// Gives one text; two servers with the same one may use `plain`.
Query probe_query();

// Reader over SQL. `runner` outlives it.
class SqlReader final : public Reader {
 public:
  SqlReader(Runner& runner, std::vector<Side> sides, Hash hash)
      : runner_(runner), sides_(std::move(sides)), hash_(hash) {}
  // Parses what the side of a table asks, reading no row. Errors: bad_data.
  Status probe(size_t table);
  Result<std::optional<Key>> boundary(size_t table, const Range& range, uint64_t rows) override;
  Result<uint64_t> count(size_t table, const Range& range) override;
  Result<Sum> sum(size_t table, const Range& range, const std::string& floor) override;
  Result<Sum> whole(size_t table) override;
  Result<std::vector<Digest>> digests(size_t table, const Range& range) override;
  Result<std::vector<std::optional<Row>>> rows(size_t table, std::span<const Key> keys,
                                               bool values) override;

 private:
  std::string hash(const std::string& text) const;
  std::string row_hash(const Side& side) const;

  Runner& runner_;
  const std::vector<Side> sides_;
  const Hash hash_;
};

// {"a","b"}: a text[] in text form.
std::string array_text(std::span<const std::string> values);

}  // namespace millrace::compare
