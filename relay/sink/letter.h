// Letter: a change that the target did not take, kept in the target until an operator retries or
// drops it; LetterBox: where they are kept.
//
// Invariant: letters come and go in the transaction of the rows and of the applied position that
// they belong to. Whoever changes letters holds the pipeline's row of `applied`: an applier from
// begin() to commit(), an operator from begin_edit() to commit(). So neither sees half of the
// other's work. Thread: the target's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "relay/base/result.h"
#include "relay/event/change.h"

namespace millrace::sink {

// Which row a letter is about. Keys are opaque bytes: equal for equal keys of one table.
struct LetterKey {
  std::string table;        // of the source, as display_name writes it
  std::string key_columns;  // names as SQL writes them; empty for a table without a key
  std::string key;          // of the new row, or of the old one where there is no new row
  std::optional<std::string> old_key;  // of an update that changed the key
};

struct Letter : LetterKey {
  int64_t id = 0;        // given by the box
  std::string key_json;  // {"id":"41"}, ASCII: for people
  Op op = Op::insert;
  uint32_t epoch = 1;
  Position position;
  bool failed = false;  // rejected itself; otherwise it waits behind an earlier letter of its key
  std::string error;
  int64_t attempts = 0;
  TimeMicros parked_at;  // by the target's clock
  uint64_t bytes = 0;    // of `change`
  std::string shape;     // the table's shape, and
  std::string change;    // the change itself, as the wire has them; empty in lists
};

class LetterBox {
 public:
  virtual ~LetterBox() = default;

  // One entry a letter of this pipeline; nullopt where the box was not set up.
  virtual Result<std::optional<std::vector<LetterKey>>> parked_keys() = 0;

  // The applier's, between begin() and commit().
  // How often an operator has changed letters, as begin() found it.
  virtual int64_t edits() const = 0;
  virtual Status park(std::span<const Letter> letters) = 0;
  // The source has truncated the table: its letters are moot. Returns how many there were.
  virtual Result<uint64_t> forget(const std::string& table) = 0;

  // The operator's. Lists are in the source's order and have neither shapes nor changes.
  // Errors: negative where the box was not set up.
  virtual Result<std::vector<Letter>> list() = 0;
  // Those of one row, under whatever keys it had meanwhile.
  virtual Result<std::vector<Letter>> chain(const LetterKey& of) = 0;
  // Whole ones, in the order of `ids`; those that are gone are left out.
  virtual Result<std::vector<Letter>> read(std::span<const int64_t> ids) = 0;
  // Opens a transaction in which this pipeline's applier waits; write() gives rows the epoch.
  virtual Status begin_edit(uint32_t epoch) = 0;
  virtual Status remove(std::span<const int64_t> ids) = 0;
  // Keeps who did what, beside the letters.
  virtual Status journal(const std::string& who, const std::string& what) = 0;
  // In no transaction: one more attempt that failed.
  virtual Status failed_again(int64_t id, const std::string& error) = 0;
};

}  // namespace millrace::sink
