#include "relay/checkpoint/spill.h"

#include <array>
#include <filesystem>
#include <limits>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "relay/checkpoint/big_endian.h"

namespace millrace::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWriteBufferBytes = 4U << 20;
constexpr size_t kBlockCacheBytes = 4U << 20;
constexpr size_t kBatchBytes = 256U << 10;
constexpr size_t kDeletesMax = 1000;  // a longer tail becomes one range deletion
// With this much behind it and nothing open, a new database is cheaper than compacting the old one.
constexpr uint64_t kRenewBytes = 64U << 20;

constexpr char kMessage = 'm';
constexpr char kSavepoint = 's';

std::string message_key(uint32_t xid, uint64_t sequence) {
  std::string key(1, kMessage);
  Writer(key).number(xid).number(sequence);
  return key;
}

// Behind every key of the transaction.
std::string end_of(char kind, uint32_t xid) {
  if (xid == std::numeric_limits<uint32_t>::max())
    return std::string(1, static_cast<char>(kind + 1));
  std::string key(1, kind);
  Writer(key).number(xid + 1);
  return key;
}

std::string savepoint_key(uint32_t xid, uint32_t subxid) {
  std::string key(1, kSavepoint);
  Writer(key).number(xid).number(subxid);
  return key;
}

rocksdb::Options database_options() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes, 0);
  table.block_size = 16U << 10;
  table.cache_index_and_filter_blocks = true;  // or they would grow with the transaction
  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.write_buffer_size = kWriteBufferBytes;
  options.max_write_buffer_number = 2;
  options.target_file_size_base = 16U << 20;
  options.max_bytes_for_level_base = 64U << 20;
  options.max_background_jobs = 2;
  options.max_open_files = 64;
  options.max_log_file_size = 256U << 10;
  options.keep_log_file_num = 1;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.compression = rocksdb::kLZ4Compression;
  return options;
}

std::string_view view(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

}  // namespace

struct Spill::State {
  std::string path;
  std::unique_ptr<rocksdb::DB> db;
  rocksdb::WriteBatch batch;
  // By transaction: the savepoint that the last message was of, whose first is written down; or 0.
  std::unordered_map<uint32_t, uint32_t> open;
  uint64_t bytes_added = 0;

  Error error(const rocksdb::Status& status) const {
    const bool damaged = status.IsCorruption();
    return {damaged ? ErrorCode::corruption : ErrorCode::retryable,
            "the folder of open transactions " + path + ": " + status.ToString(),
            damaged ? "restart: it is made anew from the slot"
                    : "free space there, or set source.streaming: off, so that the source's server "
                      "keeps open transactions"};
  }

  Status make() {
    db.reset();
    discard(path);
    std::error_code code;
    fs::create_directories(path, code);
    if (code) {
      return fail(ErrorCode::config, "the folder " + path + " can not be made: " + code.message(),
                  "give a `state` folder that this user may write to");
    }
    rocksdb::DB* opened = nullptr;
    const auto status = rocksdb::DB::Open(database_options(), path, &opened);
    db.reset(opened);
    if (!status.ok()) return fail(error(status));
    bytes_added = 0;
    return {};
  }

  Status write(rocksdb::WriteBatch& writes) {
    rocksdb::WriteOptions options;
    options.disableWAL = true;  // see the header: nothing must survive the process
    const auto status = db->Write(options, &writes);
    writes.Clear();
    if (!status.ok()) return fail(error(status));
    return {};
  }

  Status flush() { return batch.Count() == 0 ? Status() : write(batch); }

  Result<std::optional<uint64_t>> first_of(uint32_t xid, uint32_t subxid) {
    TRY(flush());
    std::string found;
    const auto status = db->Get(rocksdb::ReadOptions(), savepoint_key(xid, subxid), &found);
    if (status.IsNotFound()) return std::optional<uint64_t>();
    if (!status.ok()) return fail(error(status));
    return std::optional<uint64_t>(Reader(found).number<uint64_t>());
  }

  // One point deletion a message for a short tail: many range deletions make every read slow.
  Status drop_tail(uint32_t xid, uint64_t from) {
    const std::string lower_key = message_key(xid, from);
    const std::string upper_key = end_of(kMessage, xid);
    const rocksdb::Slice upper(upper_key);
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &upper;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(options));
    rocksdb::WriteBatch deletes;
    size_t count = 0;
    for (it->Seek(lower_key); it->Valid() && count < kDeletesMax; it->Next(), ++count) {
      deletes.Delete(it->key());
    }
    if (!it->status().ok()) return fail(error(it->status()));
    if (it->Valid()) {
      deletes.Clear();
      deletes.DeleteRange(lower_key, upper_key);
    }
    return deletes.Count() == 0 ? Status() : write(deletes);
  }

  Status drop_all(uint32_t xid) {
    open.erase(xid);
    if (open.empty() && bytes_added >= kRenewBytes) {
      batch.Clear();
      return make();
    }
    TRY(flush());
    TRY(drop_tail(xid, 0));
    rocksdb::WriteBatch deletes;
    deletes.DeleteRange(savepoint_key(xid, 0), end_of(kSavepoint, xid));
    return write(deletes);
  }
};

Spill::Spill(std::unique_ptr<State> state) : state_(std::move(state)) {}

Spill::~Spill() {
  state_->db.reset();
  discard(state_->path);
}

void Spill::discard(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

Result<std::unique_ptr<Spill>> Spill::open(const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  TRY(state->make());
  return std::unique_ptr<Spill>(new Spill(std::move(state)));
}

Status Spill::add(uint32_t xid, uint32_t subxid, uint64_t sequence, char letter,
                  std::string_view body) {
  State& s = *state_;
  uint32_t& last = s.open[xid];
  if (subxid != xid && subxid != last) {
    TRY_ASSIGN(const auto first, s.first_of(xid, subxid));
    if (!first) {
      std::string at;
      Writer(at).number(sequence);
      s.batch.Put(savepoint_key(xid, subxid), at);
    }
    last = subxid;
  }
  const std::string key = message_key(xid, sequence);
  const rocksdb::Slice key_part(key);
  const std::array<rocksdb::Slice, 2> value{rocksdb::Slice(&letter, 1),
                                            rocksdb::Slice(body.data(), body.size())};
  const auto status =
      s.batch.Put(rocksdb::SliceParts(&key_part, 1), rocksdb::SliceParts(value.data(), 2));
  if (!status.ok()) return fail(s.error(status));
  s.bytes_added += body.size() + 1;
  return s.batch.GetDataSize() >= kBatchBytes ? s.flush() : Status();
}

Status Spill::abort(uint32_t xid, uint32_t subxid) {
  State& s = *state_;
  const auto open = s.open.find(xid);
  if (open == s.open.end()) return {};
  if (xid == subxid) return s.drop_all(xid);
  TRY_ASSIGN(const auto first, s.first_of(xid, subxid));
  if (!first) return {};
  open->second = 0;
  TRY(s.drop_tail(xid, *first));
  rocksdb::WriteBatch deletes;
  deletes.Delete(savepoint_key(xid, subxid));
  return s.write(deletes);
}

Status Spill::replay(uint32_t xid, const Visitor& visit) {
  State& s = *state_;
  if (!s.open.contains(xid)) return {};
  TRY(s.flush());
  const std::string upper_key = end_of(kMessage, xid);
  const rocksdb::Slice upper(upper_key);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &upper;
  options.fill_cache = false;
  options.readahead_size = 256U << 10;
  const std::unique_ptr<rocksdb::Iterator> it(s.db->NewIterator(options));
  for (it->Seek(message_key(xid, 0)); it->Valid(); it->Next()) {
    TRY(visit(Reader(view(it->key()).substr(5)).number<uint64_t>(), view(it->value())));
  }
  if (!it->status().ok()) return fail(s.error(it->status()));
  return {};
}

size_t Spill::transactions() const { return state_->open.size(); }
uint64_t Spill::bytes_added() const { return state_->bytes_added; }

}  // namespace millrace::checkpoint
