// Opening the folder: RocksDB's settings, the format's version, the topics and their bounds.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include "relay/base/disk.h"
#include "relay/base/logging.h"
#include "relay/log/embedded/store.h"

namespace millrace::log {
namespace {

constexpr uint64_t kRoomBytes = 8 << 20;  // for compaction
constexpr LogOffset kLastOffset = std::numeric_limits<LogOffset>::max();

std::string_view view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

size_t memtable_bytes(const EmbeddedOptions& options) {
  return std::clamp<size_t>(options.memory_bytes / 4, 1 << 20, 64 << 20);
}

// Values go to blob files: they are written once when a memtable is flushed, and compaction moves
// their keys alone. A memtable is an eighth of the budget, because two may wait to be flushed.
rocksdb::Options rocksdb_options(const EmbeddedOptions& options) {
  rocksdb::Options out;
  out.create_if_missing = !options.observer;
  out.write_buffer_size = memtable_bytes(options);
  out.max_write_buffer_number = 2;
  out.arena_block_size = 256 << 10;
  out.compression = rocksdb::kNoCompression;
  out.enable_blob_files = true;
  out.min_blob_size = 256;
  out.blob_file_size = std::clamp<uint64_t>(options.retention_bytes / 16, 4 << 20, 64 << 20);
  out.level0_file_num_compaction_trigger = 4;
  out.target_file_size_base = 8 << 20;
  out.max_bytes_for_level_base = 32 << 20;
  out.max_background_jobs = 2;
  out.bytes_per_sync = 1 << 20;
  out.max_open_files = options.observer ? -1 : 256;
  // A torn tail after a power cut is what was never synced; everything before it is kept.
  out.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  out.keep_log_file_num = 2;
  out.max_log_file_size = 1 << 20;
  out.info_log_level = rocksdb::WARN_LEVEL;
  out.stats_dump_period_sec = 0;
  out.stats_persist_period_sec = 0;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(1 << 20, 0);
  out.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return out;
}

// RocksDB's MANIFEST, which CURRENT names: it grows when a memtable is flushed.
std::string manifest_state(const std::string& path) {
  std::string name;
  std::getline(std::ifstream(path + "/CURRENT"), name);
  std::error_code ignored;
  return name + " " + std::to_string(std::filesystem::file_size(path + "/" + name, ignored));
}

// Not as a secondary instance: RocksDB 7.8's reads blobs through a name that it has freed, and
// dies. The owner works on: a file that the manifest names may be gone before it is opened, and a
// flush between the reading of the manifest and of the write-ahead logs leaves a hole.
rocksdb::Status open_as_observer(const rocksdb::Options& options, const std::string& path,
                                 rocksdb::DB** db) {
  constexpr int kAttempts = 50;
  rocksdb::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(Millis(20));
    const std::string before = manifest_state(path);
    status = rocksdb::DB::OpenForReadOnly(options, path, db);
    if (!status.ok()) continue;
    if (manifest_state(path) == before) break;
    delete std::exchange(*db, nullptr);
    status = rocksdb::Status::TryAgain("its owner has just flushed");
  }
  return status;
}

rocksdb::ReadOptions read_options() {
  rocksdb::ReadOptions out;
  out.verify_checksums = true;
  return out;
}

}  // namespace

Store::Store(const EmbeddedOptions& options) : options_(options) {}

Result<std::unique_ptr<Store>> Store::open(const EmbeddedOptions& options) {
  std::unique_ptr<Store> store(new Store(options));
  TRY(store->open_db());
  TRY(store->check_version());
  TRY(store->load_topics());
  TRY(store->check_owner());
  if (store->find(options.manifest_topic) == nullptr && options.observer) {
    return fail(
        ErrorCode::refused,
        fmt::format("embedded log {} has no topic {}", options.path, options.manifest_topic),
        "it is made by the first run");
  }
  TRY(store->make_control());
  return store;
}

// The manifest topic is the first thing made in a folder: topics without ours are somebody else's.
Status Store::check_owner() {
  if (topics_.empty() || find(options_.manifest_topic) != nullptr) return {};
  return fail(ErrorCode::refused,
              fmt::format("embedded log {} is another pipeline's: it has topic {}, not {}",
                          options_.path, topics_.begin()->first, options_.manifest_topic),
              "give each pipeline a `state` folder of its own");
}

Status Store::make_control() {
  TRY_ASSIGN(control_, find_or_create(options_.manifest_topic));
  return {};
}

Store::~Store() {
  if (db_) {
    if (auto status = db_->Close(); !status.ok()) {
      logging::warn("embedded log not closed cleanly",
                    {{"path", options_.path}, {"error", status.ToString()}});
    }
  }
}

Status Store::open_db() {
  const rocksdb::Options options = rocksdb_options(options_);
  rocksdb::DB* db = nullptr;
  rocksdb::Status status;
  if (options_.observer) {
    status = open_as_observer(options, options_.path, &db);
    if (!status.ok() && db_) return fail(error(status, "read what its owner has written"));
  } else {
    std::error_code failure;
    std::filesystem::create_directories(options_.path, failure);
    if (failure) {
      return fail(ErrorCode::retryable,
                  fmt::format("can not make the folder {}: {}", options_.path, failure.message()));
    }
    TRY(check_room());
    status = rocksdb::DB::Open(options, options_.path, &db);
  }
  db_.reset(db);
  if (status.ok()) return {};
  const std::string text = status.ToString();
  if (status.IsIOError() && text.find("/LOCK") != std::string::npos) {
    return fail(ErrorCode::refused,
                fmt::format("the embedded log {} is in use by another process", options_.path),
                "stop the other one; `millrace log cat` reads beside it");
  }
  return fail(error(status, "open"));
}

// Two memtables may wait to be flushed while a third is in the write-ahead log.
Status Store::check_room() const {
  return require_room(options_.path, 3 * memtable_bytes(options_) + kRoomBytes);
}

Status Store::check_version() {
  std::string value;
  rocksdb::Status status = db_->Get(read_options(), version_key(), &value);
  if (status.IsNotFound() && options_.observer) return {};
  if (status.IsNotFound()) {
    value = std::string(1, static_cast<char>(kFormatVersion));
    status = db_->Put(rocksdb::WriteOptions(), version_key(), value);
  }
  if (!status.ok()) return fail(error(status, "format version"));
  if (value != std::string(1, static_cast<char>(kFormatVersion))) {
    return fail(ErrorCode::refused,
                fmt::format("the embedded log {} was written by another version of this program",
                            options_.path),
                "use that version, or a new folder");
  }
  return {};
}

Status Store::load_topics() {
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read_options()));
  std::lock_guard lock(mutex_);
  for (it->Seek("t"); it->Valid() && it->key().starts_with("t"); it->Next()) {
    const auto id = decode_u32(view(it->value()));
    if (!id)
      return fail(ErrorCode::corruption,
                  fmt::format("embedded log {}: a topic's number", options_.path));
    const std::string name(view(it->key()).substr(1));
    auto& slot = topics_[name];
    if (slot && slot->id != *id) {  // observer: removed and made again meanwhile
      slot->removed = true;
      husks_.push_back(std::move(slot));
      slot = nullptr;
    }
    if (!slot) {
      slot = std::make_unique<Topic>();
      slot->id = *id;
      slot->name = name;
      if (!options_.observer) TRY(load_topic(*slot));
    }
    if (options_.observer) TRY(load_bounds(*slot));
  }
  if (!it->status().ok()) return fail(error(it->status(), "read the topics"));
  return {};
}

Status Store::load_topic(Topic& topic) {
  TRY(load_bounds(topic));
  topic.next = topic.end;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read_options()));
  for (it->Seek(mark_key(topic.id, 0)); it->Valid(); it->Next()) {
    const auto offset = offset_of_mark_key(view(it->key()), topic.id);
    if (!offset) break;
    const std::string_view value = view(it->value());
    const auto micros = decode_u64(value.substr(0, std::min<size_t>(8, value.size())));
    const auto bytes = decode_u64(value.substr(std::min<size_t>(8, value.size())));
    if (!micros || !bytes) {
      return fail(ErrorCode::corruption, fmt::format("embedded log {}: topic {}, retention mark {}",
                                                     options_.path, topic.name, *offset));
    }
    if (*offset < topic.start || *offset >= topic.end) continue;
    topic.marks.push_back({*offset, *micros, *bytes});
    topic.bytes =
        *bytes;  // what came after the last mark is not counted again: at most one mark's worth
  }
  if (!it->status().ok()) return fail(error(it->status(), "read the retention marks"));
  return {};
}

Status Store::load_bounds(Topic& topic) {
  std::string floor;
  const rocksdb::Status got = db_->Get(read_options(), floor_key(topic.id), &floor);
  if (!got.ok() && !got.IsNotFound()) return fail(error(got, "topic " + topic.name));
  topic.start = got.ok() ? static_cast<LogOffset>(decode_u64(floor).value_or(0)) : 0;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read_options()));
  it->SeekForPrev(block_key(topic.id, kLastOffset));
  if (!it->status().ok()) return fail(error(it->status(), "topic " + topic.name + ", its end"));
  LogOffset end = topic.start;
  if (it->Valid()) {
    if (const auto first = offset_of_block_key(view(it->key()), topic.id)) {
      const auto header = decode_block_header(view(it->value()));
      if (!header) {
        return fail(ErrorCode::corruption,
                    fmt::format("embedded log {}: topic {}, offset {}: not a block", options_.path,
                                topic.name, *first));
      }
      end = *first + header->count;
    }
  }
  if (end > topic.end) topic.end = end;
  return {};
}

}  // namespace millrace::log
