// Database: the little of RocksDB that the checkpoint needs, kept small in memory and threads.
//
// Two column families. An observer is a secondary instance beside a running owner: it reads what
// the owner has written up to its last refresh, and keeps its own files in a temporary folder.
// Thread-safe, but refresh() is called by one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/base/result.h"

namespace millrace::checkpoint {

enum class Mode { owner, observer };
enum class Family { checkpoint, history };
enum class Direction { forward, backward };

// One write of a batch; no value: the key is removed.
struct Write {
  Family family = Family::checkpoint;
  std::string key;
  std::optional<std::string> value;
};

class Database {
 public:
  // An owner creates what is missing. Errors: refused when another process owns the folder, config
  // when an observer finds nothing, corruption, retryable.
  static Result<std::unique_ptr<Database>> open(const std::string& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // All of the batch or nothing. Without `sync` it survives the process, not the machine.
  Status write(const std::vector<Write>& batch, bool sync);
  Result<std::optional<std::string>> get(Family family, std::string_view key) const;

  // Visits the keys of [from, end) until `visit` returns false. Views are valid during the call.
  using Visitor = std::function<bool(std::string_view key, std::string_view value)>;
  Status scan(Family family, const std::string& from, const std::string& end, Direction direction,
              const Visitor& visit) const;

  uint64_t estimated_keys(Family family) const;

  // Observer: sees what the owner has written since. Owner: nothing to do.
  Status refresh();

  const std::string& path() const { return path_; }
  Mode mode() const { return mode_; }
  // The error for bytes that can not be what was written, with the way out.
  tl::unexpected<Error> damaged(const std::string& what) const;
  // Adds the folder and the way out to an error of a decoder.
  tl::unexpected<Error> located(Error error) const;

 private:
  struct Handles;  // hides RocksDB
  Database(std::string path, Mode mode, std::unique_ptr<Handles> handles);

  std::string path_;
  Mode mode_;
  std::unique_ptr<Handles> handles_;
};

}  // namespace millrace::checkpoint
