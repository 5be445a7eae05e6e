// Parking: what the applier knows of parked rows, and the rule by which further ones join them.
//
// Invariant: while a letter of a key waits, every later change of that key becomes a letter too, so
// that retrying them in the source's order gives what the source has. A change that moves a row
// from one key to another ties both keys together. Changes of tables without a key have no order by
// key: each waits alone.
//
// A row of history (history.h) is older than every streamed change from its chunk's floor on, so
// its letter stands before theirs, and what the stream brings of its key waits behind it.
//
// What it remembers is the target's; load() reads it after every error, begun() when an operator
// has changed letters meanwhile. One thread, the applier's. With nothing parked any() is false, and
// nothing else is asked.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/change.h"
#include "relay/sink/history.h"
#include "relay/sink/letter.h"

namespace millrace::sink {

struct ParkingOptions {
  bool takes_new = false;  // false: a row that the target rejects stops the pipeline
  uint64_t letters_max = 10'000;
};

// How changes become letters: the wire's business.
struct LetterCodec {
  // The key of the new row; with `before` that of the old one. See wire/record_key.h.
  std::function<void(const Change& change, bool before, std::string& out)> key;
  // All of a letter but `failed` and `error`.
  std::function<Letter(const Change& change)> letter;
};

class Parking final : public RowPark {
 public:
  // `box` outlives it.
  Parking(LetterBox& box, ParkingOptions options, LetterCodec codec)
      : box_(box), options_(options), codec_(std::move(codec)) {}

  // Reads what is parked. Errors: bad_data when rows are to be parked and the box is not set up.
  Status load();
  // A target transaction has begun.
  Status begun();

  bool takes_new() const { return options_.takes_new; }
  bool any() const { return letters_ > 0; }
  uint64_t count() const { return letters_; }

  // Does the change belong to a parked key? Errors: bad_data when its table has another key now.
  Result<bool> behind(const Change& change);
  // `rejected` null: it waits behind others. Errors: bad_data when too many are parked.
  Status park(const Change& change, const Error* rejected);
  // The statement's tables were emptied: what was parked of them before is moot.
  Status truncated(std::span<const Change> statement);
  // Writes the letters that are not written yet.
  Status flush() override;

  // Of a chunk, in its transaction. Copies leave half of the room to the stream: where that is
  // full the stream stops.
  Status park_row(const Change& row, const Error& rejected) override;
  void undone() override;
  void forget_news() { news_ = News{}; }

  // What was parked since begun() or forget_news(): `errors` of the first few that were rejected.
  struct News {
    uint64_t failed = 0;
    uint64_t behind = 0;
    std::vector<Error> errors;
  };
  const News& news() const { return news_; }

 private:
  struct Table {
    std::string key_columns;
    std::unordered_set<std::string> keys;
  };

  void remember(const LetterKey& letter);

  LetterBox& box_;
  const ParkingOptions options_;
  const LetterCodec codec_;
  std::unordered_map<std::string, Table> tables_;
  uint64_t letters_ = 0;
  int64_t edits_ = -1;  // as of the last load; -1: not known
  std::vector<Letter> unwritten_;
  uint64_t unwritten_bytes_ = 0;
  News news_;
  std::string key_;
};

// "id", "a, b": the key's columns as SQL writes them.
std::string key_columns(const TableSchema& table);

}  // namespace millrace::sink
