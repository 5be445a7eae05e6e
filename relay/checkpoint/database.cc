#include "relay/checkpoint/database.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <thread>

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "relay/base/disk.h"

namespace millrace::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockCacheBytes = 2U << 20;
constexpr size_t kWriteBufferBytes = 2U << 20;  // of each family
constexpr size_t kWalBytesMax = 8U << 20;
constexpr int kObserverAttempts = 5;
// Kept free for what RocksDB writes by itself: memtables, compaction. It can not go on after a
// write that met a full disk.
constexpr uint64_t kRoomBytes = 2 * kWalBytesMax;

rocksdb::CompressionType compression() {
  const auto supported = rocksdb::GetSupportedCompressions();
  const bool lz4 =
      std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression) != supported.end();
  return lz4 ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
}

rocksdb::ColumnFamilyOptions family_options() {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes, 0);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.write_buffer_size = kWriteBufferBytes;
  options.max_write_buffer_number = 2;
  options.target_file_size_base = 4U << 20;
  options.max_bytes_for_level_base = 16U << 20;
  options.compression = compression();
  return options;
}

rocksdb::DBOptions database_options(Mode mode) {
  rocksdb::DBOptions options;
  const bool owner = mode == Mode::owner;
  options.create_if_missing = owner;
  options.create_missing_column_families = owner;
  options.paranoid_checks = true;
  // A torn tail after a power loss is an older checkpoint, which is right; the rest is checked.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.max_background_jobs = 1;
  options.max_open_files = owner ? 64 : -1;  // an observer must keep what the owner may remove
  options.max_total_wal_size = kWalBytesMax;
  options.max_manifest_file_size = 1U << 20;
  options.max_log_file_size = 256U << 10;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

std::string hint_of(const std::string& path) {
  return "remove the folder " + path + "; it is rebuilt from the log";
}

Error to_error(const rocksdb::Status& status, const std::string& path) {
  const std::string text = status.ToString();
  const auto says = [&text](const char* part) { return text.find(part) != std::string::npos; };
  const bool denied = says("ermission denied") || says("Read-only file system");
  if (status.IsIOError() && says("/LOCK") && !denied) {
    return {ErrorCode::refused, "another process uses the checkpoint folder " + path,
            "another instance of this pipeline runs: stop it, or give this one its own `state`"};
  }
  if (status.IsInvalidArgument() && says("Column families not opened")) {
    return {ErrorCode::refused, "the checkpoint folder " + path + " has parts this version lacks",
            "a newer millrace wrote it: upgrade this one"};
  }
  if (denied)
    return {ErrorCode::config, "no access to the checkpoint folder " + path + ": " + text};
  const bool missing = status.IsPathNotFound() || says("No such file");
  const bool waits = status.IsIOError() || status.IsBusy() || status.IsTimedOut() ||
                     status.IsTryAgain() || status.IsIncomplete() || status.IsMemoryLimit();
  if (waits && !missing) {
    return {ErrorCode::retryable, "the checkpoint folder " + path + ": " + text,
            status.IsNoSpace() ? "free space on the folder's disk" : ""};
  }
  return {ErrorCode::corruption, "the checkpoint folder " + path + " is damaged: " + text,
          hint_of(path)};
}

rocksdb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const rocksdb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

// A fresh folder for the info log of an observer.
Result<std::string> make_temporary() {
  std::error_code code;
  std::string pattern = (fs::temp_directory_path(code) / "millrace-observer-XXXXXX").string();
  if (code || ::mkdtemp(pattern.data()) == nullptr) {
    return fail(ErrorCode::retryable, "no temporary folder " + pattern + " to observe from");
  }
  return pattern;
}

}  // namespace

struct Database::Handles {
  std::string temporary;  // of an observer
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::unique_ptr<rocksdb::DB> db;

  Handles() = default;
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() {
    for (auto* family : families) db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    if (db) db->Close().PermitUncheckedError();
    db.reset();
    std::error_code ignored;
    if (!temporary.empty()) fs::remove_all(temporary, ignored);
  }

  // REQUIRES: the families were opened in the order of the enumerators.
  rocksdb::ColumnFamilyHandle* of(Family family) const {
    return families[family == Family::checkpoint ? 1 : 2];
  }

  rocksdb::Status open(const std::string& path, Mode mode) {
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const char* name : {"default", "checkpoint", "history"}) {
      descriptors.emplace_back(name, family_options());
    }
    rocksdb::DB* opened = nullptr;
    const auto options = database_options(mode);
    auto status = mode == Mode::owner
                      ? rocksdb::DB::Open(options, path, descriptors, &families, &opened)
                      : rocksdb::DB::OpenAsSecondary(options, path, temporary, descriptors,
                                                     &families, &opened);
    db.reset(opened);
    return status;
  }
};

Database::Database(std::string path, Mode mode, std::unique_ptr<Handles> handles)
    : path_(std::move(path)), mode_(mode), handles_(std::move(handles)) {}

Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Mode mode) {
  auto handles = std::make_unique<Handles>();
  std::error_code code;
  if (mode == Mode::owner) {
    fs::create_directories(path, code);
    if (code) {
      const bool full = code == std::errc::no_space_on_device;
      return fail(full ? ErrorCode::retryable : ErrorCode::config,
                  "the checkpoint folder " + path + " can not be made: " + code.message(),
                  full ? "free space on the folder's disk"
                       : "give a `state` folder that this user may write to");
    }
  } else {
    if (!fs::exists(fs::path(path) / "CURRENT", code)) {
      return fail(ErrorCode::config, "no checkpoint in " + path,
                  "the pipeline has not run here: check `state`, or start it with `millrace run`");
    }
    TRY_ASSIGN(handles->temporary, make_temporary());
  }
  if (mode == Mode::owner) TRY(require_room(path, kRoomBytes));
  // The owner may remove a file between an observer's look and its opening of it: look again.
  rocksdb::Status status = handles->open(path, mode);
  for (int attempt = 1; mode == Mode::observer && !status.ok() && attempt < kObserverAttempts;
       ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20 * attempt));
    status = handles->open(path, mode);
  }
  if (!status.ok()) return fail(to_error(status, path));
  return std::unique_ptr<Database>(new Database(path, mode, std::move(handles)));
}

Status Database::write(const std::vector<Write>& batch, bool sync) {
  if (mode_ == Mode::observer) return fail(ErrorCode::fatal, "an observer can not write " + path_);
  rocksdb::WriteBatch writes;
  for (const Write& write : batch) {
    auto* family = handles_->of(write.family);
    const auto status = write.value ? writes.Put(family, slice(write.key), slice(*write.value))
                                    : writes.Delete(family, slice(write.key));
    if (!status.ok()) return fail(to_error(status, path_));
  }
  TRY(require_room(path_, kRoomBytes));
  rocksdb::WriteOptions options;
  options.sync = sync;
  const auto status = handles_->db->Write(options, &writes);
  if (!status.ok()) return fail(to_error(status, path_));
  return {};
}

Result<std::optional<std::string>> Database::get(Family family, std::string_view key) const {
  std::string value;
  const auto status =
      handles_->db->Get(rocksdb::ReadOptions(), handles_->of(family), slice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return fail(to_error(status, path_));
  return std::optional<std::string>(std::move(value));
}

Status Database::scan(Family family, const std::string& from, const std::string& end,
                      Direction direction, const Visitor& visit) const {
  const rocksdb::Slice lower(from);
  const rocksdb::Slice upper(end);
  rocksdb::ReadOptions options;
  options.iterate_lower_bound = &lower;
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> it(
      handles_->db->NewIterator(options, handles_->of(family)));
  const bool forward = direction == Direction::forward;
  forward ? it->SeekToFirst() : it->SeekToLast();
  while (it->Valid() && visit(view(it->key()), view(it->value()))) {
    forward ? it->Next() : it->Prev();
  }
  if (!it->status().ok()) return fail(to_error(it->status(), path_));
  return {};
}

uint64_t Database::estimated_keys(Family family) const {
  uint64_t keys = 0;
  handles_->db->GetIntProperty(handles_->of(family), rocksdb::DB::Properties::kEstimateNumKeys,
                               &keys);
  return keys;
}

Status Database::refresh() {
  if (mode_ == Mode::owner) return {};
  const auto status = handles_->db->TryCatchUpWithPrimary();
  if (!status.ok()) return fail(to_error(status, path_));
  return {};
}

tl::unexpected<Error> Database::damaged(const std::string& what) const {
  return fail(ErrorCode::corruption, "the checkpoint folder " + path_ + " is damaged: " + what,
              hint_of(path_));
}

tl::unexpected<Error> Database::located(Error error) const {
  if (error.code() != ErrorCode::corruption) return fail(std::move(error).at(path_));
  return fail(std::move(error).at(path_).with_hint(hint_of(path_)));
}

}  // namespace millrace::checkpoint
