#include "relay/log/embedded/store.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/options.h>

#include "relay/base/logging.h"

namespace millrace::log {
namespace {

constexpr LogOffset kLastOffset = std::numeric_limits<LogOffset>::max();
constexpr Millis kObserverLook{250};  // each opens the folder anew

std::string_view view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

rocksdb::ReadOptions read_options() {
  rocksdb::ReadOptions out;
  out.verify_checksums = true;
  return out;
}

}  // namespace

Error Store::error(const rocksdb::Status& status, const std::string& doing) const {
  const std::string text =
      fmt::format("embedded log {}: {}: {}", options_.path, doing, status.ToString());
  // A file that is gone will not come back by waiting.
  const bool gone = text.find("No such file") != std::string::npos;
  if (status.IsCorruption() || status.IsPathNotFound() || gone) {
    return Error(
        ErrorCode::corruption, text,
        "restore the folder, or remove it when the slot is acknowledged by what the target has "
        "applied (log.acknowledge: applied): it is then filled again from the source");
  }
  if (status.IsNoSpace())
    return Error(ErrorCode::retryable, text, "free space on the folder's disk");
  return Error(ErrorCode::retryable, text);
}

Topic* Store::find(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(name);
  return found == topics_.end() ? nullptr : found->second.get();
}

std::vector<Topic*> Store::topics() {
  std::lock_guard lock(mutex_);
  std::vector<Topic*> out;
  for (auto& [name, topic] : topics_) out.push_back(topic.get());
  return out;
}

Result<uint32_t> Store::next_topic_id() {
  std::string value;
  const rocksdb::Status status = db_->Get(read_options(), next_topic_key(), &value);
  if (status.IsNotFound()) return 1;
  if (!status.ok()) return fail(error(status, "the next topic number"));
  const auto id = decode_u32(value);
  if (!id)
    return fail(ErrorCode::corruption,
                fmt::format("embedded log {}: the next topic number", options_.path));
  return *id;
}

Result<Topic*> Store::find_or_create(const std::string& name) {
  if (Topic* topic = find(name)) return topic;
  const std::shared_lock open(db_mutex_);
  TRY(check_open());
  std::lock_guard lock(mutex_);
  if (const auto found = topics_.find(name); found != topics_.end()) return found->second.get();
  TRY_ASSIGN(const uint32_t id, next_topic_id());
  rocksdb::WriteBatch batch;
  batch.Put(name_key(name), encode_u32(id));
  batch.Put(next_topic_key(), encode_u32(id + 1));
  const rocksdb::Status status = db_->Write(rocksdb::WriteOptions(), &batch);
  if (!status.ok()) return fail(error(status, "make topic " + name));
  auto topic = std::make_unique<Topic>();
  topic->id = id;
  topic->name = name;
  return (topics_[name] = std::move(topic)).get();
}

Status Store::remove(const std::string& name) {
  const std::shared_lock open(db_mutex_);
  TRY(check_open());
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(name);
  if (found == topics_.end()) return {};
  const uint32_t id = found->second->id;
  rocksdb::WriteBatch batch;
  batch.Delete(name_key(name));
  batch.Delete(floor_key(id));
  batch.DeleteRange(block_key(id, 0), block_key(id, kLastOffset));
  batch.DeleteRange(mark_key(id, 0), mark_key(id, kLastOffset));
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status status = db_->Write(synced, &batch);
  if (!status.ok()) return fail(error(status, "remove topic " + name));
  found->second->removed = true;
  husks_.push_back(std::move(found->second));
  topics_.erase(found);
  return {};
}

Result<HeldBlock> Store::held(const Topic& topic, LogOffset first, std::string bytes) const {
  const auto header = decode_block_header(bytes);
  if (!header) {
    return fail(ErrorCode::corruption,
                fmt::format("embedded log {}: topic {}, offset {}: not a block", options_.path,
                            topic.name, first));
  }
  return HeldBlock{first, first + header->count, std::move(bytes)};
}

// Nearly always a range begins where a block does.
Result<std::optional<HeldBlock>> Store::block_at(const Topic& topic, LogOffset offset) {
  const std::shared_lock lock(db_mutex_);
  TRY(check_open());
  std::string bytes;
  const rocksdb::Status status = db_->Get(read_options(), block_key(topic.id, offset), &bytes);
  if (status.IsNotFound()) return search_block(topic, offset);
  if (!status.ok())
    return fail(error(status, fmt::format("topic {}, offset {}", topic.name, offset)));
  TRY_ASSIGN(HeldBlock block, held(topic, offset, std::move(bytes)));
  return std::optional<HeldBlock>(std::move(block));
}

Result<std::optional<HeldBlock>> Store::search_block(const Topic& topic, LogOffset offset) {
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read_options()));
  it->SeekForPrev(block_key(topic.id, offset));
  for (bool second = false;; second = true) {
    if (!it->status().ok())
      return fail(error(it->status(), fmt::format("topic {}, offset {}", topic.name, offset)));
    const auto first = it->Valid() ? offset_of_block_key(view(it->key()), topic.id) : std::nullopt;
    if (first) {
      TRY_ASSIGN(HeldBlock block, held(topic, *first, it->value().ToString()));
      if (block.end > offset) return std::optional<HeldBlock>(std::move(block));
    }
    if (second) return std::optional<HeldBlock>();
    it->Seek(block_key(topic.id, offset));
  }
}

void Store::wait_for_control(LogOffset offset, Millis wait, const std::atomic<bool>& stop) {
  const auto reached = [&] { return control().end > offset || stop; };
  if (!options_.observer) {
    if (wait <= Millis(0)) return;
    std::unique_lock lock(tail_mutex_);
    tail_.wait_for(lock, wait, reached);
    return;
  }
  const auto until = std::chrono::steady_clock::now() + wait;
  while (!reached()) {
    if (auto status = refresh(); !status)
      logging::warn("embedded log not refreshed", {{"error", status.error().describe()}});
    const auto left = until - std::chrono::steady_clock::now();
    if (reached() || left <= Millis(0)) return;
    std::unique_lock lock(tail_mutex_);
    tail_.wait_for(lock, std::min<SteadyTime::duration>(left, kObserverLook),
                   [&] { return stop.load(); });
  }
}

void Store::wake_waiting() {
  { std::lock_guard lock(tail_mutex_); }
  tail_.notify_all();
}

Status Store::refresh() {
  if (!options_.observer) return {};
  {
    const std::unique_lock lock(db_mutex_);
    TRY(open_db());
  }
  const std::shared_lock lock(db_mutex_);
  return load_topics();
}

Status Store::write(rocksdb::WriteBatch& batch, bool sync) {
  const std::shared_lock lock(db_mutex_);
  TRY(check_open());
  rocksdb::WriteOptions options;
  options.sync = sync;
  const rocksdb::Status status = db_->Write(options, &batch);
  if (status.ok()) return {};
  failed_ = true;
  return fail(error(status, sync ? "write and sync" : "write"));
}

Status Store::sync() {
  const std::shared_lock lock(db_mutex_);
  TRY(check_open());
  const rocksdb::Status status = db_->SyncWAL();
  if (status.ok()) return {};
  failed_ = true;
  return fail(error(status, "sync"));
}

void Store::control_synced(LogOffset end) {
  {
    std::lock_guard lock(tail_mutex_);
    control().end = end;
  }
  tail_.notify_all();
}

Status Store::check_open() const {
  if (db_) return {};
  return fail(ErrorCode::retryable,
              fmt::format("the embedded log {} could not be opened again", options_.path));
}

// What was reported is in the write-ahead log, and comes back with it.
Status Store::recover() {
  if (!failed_) return {};
  TRY(check_room());  // what is there stays readable meanwhile
  const std::unique_lock lock(db_mutex_);
  db_.reset();
  TRY(open_db());
  // What the failed write left is known now; offsets go on behind it, so that none is ever missing.
  for (Topic* topic : topics()) {
    TRY(load_bounds(*topic));
    topic->next = topic->end;
  }
  failed_ = false;
  return {};
}

}  // namespace millrace::log
