#include "relay/checkpoint/store.h"

#include <fmt/format.h>

#include "relay/checkpoint/entry_codec.h"

namespace millrace::checkpoint {
namespace {

// Every 16th entry pays for looking at up to 64 in each band: thinning always outruns adding.
constexpr size_t kThinEvery = 16;
constexpr size_t kThinSteps = 64;

}  // namespace

Store::Store(std::unique_ptr<Database> db, const Options& options)
    : db_(std::move(db)),
      pipeline_(options.pipeline),
      clock_(options.clock != nullptr ? *options.clock : system_clock()),
      history_(*db_, options.history_entries_max) {}

Result<std::unique_ptr<Store>> Store::open(const Options& options) {
  if (options.pipeline.empty() && options.mode == Mode::owner) {
    return fail(ErrorCode::fatal, "a checkpoint needs the name of its pipeline");
  }
  TRY_ASSIGN(auto db, Database::open(options.path, options.mode));
  std::unique_ptr<Store> store(new Store(std::move(db), options));
  TRY(store->check_name());
  // What is damaged is better known now than at the first question.
  for (const Kind kind : {Kind::published, Kind::acknowledged, Kind::applied}) {
    TRY(store->latest(kind));
  }
  TRY(store->tables());
  return store;
}

Status Store::check_name() {
  TRY_ASSIGN(const auto stored, db_->get(Family::checkpoint, name_key()));
  if (!stored) {
    if (db_->mode() == Mode::observer) return {};
    return db_->write({{Family::checkpoint, name_key(), encode_name(pipeline_)}}, true);
  }
  auto name = decode_name(*stored);
  if (!name) return db_->located(std::move(name).error());
  if (pipeline_.empty() || *name == pipeline_) return {};
  return fail(ErrorCode::refused,
              fmt::format("the checkpoint folder {} belongs to pipeline {}, not to {}", db_->path(),
                          *name, pipeline_),
              "give every pipeline its own `state` folder");
}

Status Store::put(const Entry& entry, bool sync) {
  TRY(check_owner(entry));
  Entry latest = entry;
  latest.ranges.clear();
  std::vector<Write> batch;
  batch.push_back({Family::checkpoint, latest_key(entry.kind), encode_entry(latest)});
  const bool is_manifest = entry.kind == Kind::published && entry.manifest_offset >= 0;
  return write(std::move(batch), is_manifest ? &entry : nullptr, sync);
}

Status Store::add_history(const Entry& entry) {
  TRY(check_owner(entry));
  return write({}, &entry, false);
}

Status Store::check_owner(const Entry& entry) const {
  if (db_->mode() == Mode::observer) return fail(ErrorCode::fatal, "an observer can not write");
  if (entry.pipeline == pipeline_) return {};
  return fail(ErrorCode::refused, fmt::format("a checkpoint of pipeline {} in the folder of {}",
                                              entry.pipeline, pipeline_));
}

// `batch`, and `history` into the history where it is given.
Status Store::write(std::vector<Write> batch, const Entry* history, bool sync) {
  const std::lock_guard lock(writing_);
  if (history != nullptr) TRY(history_.add(*history, batch));
  TRY(db_->write(batch, sync));
  if (history == nullptr || ++added_ % kThinEvery != 0) return {};
  TRY(history_.thin(clock_.wall(), kThinSteps));
  return {};
}

Result<std::optional<Entry>> Store::latest(Kind kind) const {
  TRY_ASSIGN(const auto value, db_->get(Family::checkpoint, latest_key(kind)));
  if (!value) return std::optional<Entry>();
  auto entry = decode_entry(*value);
  if (!entry) return db_->located(std::move(entry).error());
  if (entry->kind != kind) return db_->damaged("an entry under the key of another kind");
  return std::optional<Entry>(std::move(*entry));
}

Status Store::put_tables(const std::vector<std::string>& tables) {
  return write({{Family::checkpoint, tables_key(), encode_texts(tables)}}, nullptr, true);
}

Result<std::vector<std::string>> Store::tables() const {
  TRY_ASSIGN(const auto value, db_->get(Family::checkpoint, tables_key()));
  if (!value) return std::vector<std::string>();
  auto tables = decode_texts(*value);
  if (!tables) return db_->located(std::move(tables).error());
  return tables;
}

Result<std::vector<Entry>> Store::history(const Place& from, const Place& to, size_t limit) const {
  return history_.between(from, to, limit);
}

Result<std::vector<Entry>> Store::history(TimeMicros from, TimeMicros to, size_t limit) const {
  return history_.between(from, to, limit);
}

Result<std::optional<Entry>> Store::history_at(const Place& place) const {
  return history_.last_at(place);
}

Result<std::optional<Entry>> Store::history_at(TimeMicros at) const { return history_.last_at(at); }

Result<size_t> Store::thin(size_t steps) {
  const std::lock_guard lock(writing_);
  return history_.thin(clock_.wall(), steps);
}

Status Store::refresh() { return db_->refresh(); }

}  // namespace millrace::checkpoint
