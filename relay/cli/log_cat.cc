#include "relay/cli/log_cat.h"

#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "relay/pipeline/claim_tracker.h"
#include "relay/pipeline/group_reader.h"
#include "relay/wire/control_codec.h"
#include "relay/wire/json.h"
#include "relay/wire/row_codec.h"

namespace millrace::cli {
namespace {

using nlohmann::ordered_json;

constexpr Millis kFollowWait{200};
constexpr Millis kReadWait{5000};

// Calls `take` with each control record from `from` up to `end`, and on when `follow`; it says
// whether to go on.
template <typename Take>
Status read_control(log::Reader& reader, const log::Bounds& bounds, bool follow,
                    std::stop_token stop, Take take) {
  TRY(reader.seek_control(bounds.start));
  LogOffset at = bounds.start;
  while (!stop.stop_requested() && (follow || at < bounds.end)) {
    TRY_ASSIGN(const auto entry, reader.next_control(follow ? kFollowWait : kReadWait));
    if (!entry) {
      if (follow) continue;
      // Offsets may have gaps: nothing more stands before `end`.
      break;
    }
    if (!follow && entry->offset >= bounds.end) break;
    at = entry->offset + 1;
    TRY_ASSIGN(const ControlRecord record, wire::decode_control(entry->value));
    TRY_ASSIGN(const bool more, take(entry->offset, record));
    if (!more) break;
  }
  return {};
}

// One range's rows of the manifest's token; the head is the next of them.
class Rows {
 public:
  static Result<Rows> open(log::Reader& reader, const OffsetRange& range, Token token) {
    Rows rows(range, token);
    TRY_ASSIGN(rows.cursor_, reader.open(range));
    TRY(rows.advance());
    return rows;
  }

  bool done() const { return done_; }
  const wire::RowHeader& header() const { return header_; }
  const log::LogRecord& record() const { return record_; }
  wire::RecordPlace place() const { return {range_.topic, range_.partition, record_.offset}; }

  Status advance() {
    while (true) {
      TRY_ASSIGN(const auto record, cursor_->next());
      if (!record) {
        done_ = true;
        return {};
      }
      record_ = *record;
      TRY_ASSIGN(header_, wire::peek_row(record_.value));
      if (header_.token == token_) return {};
    }
  }

 private:
  Rows(OffsetRange range, Token token) : range_(std::move(range)), token_(token) {}

  OffsetRange range_;
  Token token_;
  std::unique_ptr<log::RangeCursor> cursor_;
  log::LogRecord record_;
  wire::RowHeader header_;
  bool done_ = false;
};

class Cat {
 public:
  // Whether rows of the topic that was asked for were met; or which there are.
  Status check_topic() const {
    if (options_.topic.empty() || found_ || others_.empty()) return {};
    std::string names;
    for (const std::string& name : others_) names += (names.empty() ? "" : ", ") + name;
    return fail(ErrorCode::config, "no rows of topic " + options_.topic + " are there",
                "the topics are: " + names);
  }

  Cat(log::Reader& reader, const LogCatOptions& options, const PrintLine& print)
      : reader_(reader), options_(options), print_(print) {}

  Result<bool> take(LogOffset offset, const ControlRecord& record) {
    if (options_.control) return take_control(offset, record);
    if (std::holds_alternative<Claim>(record)) {
      claims_.on_claim(offset);
      return true;
    }
    const auto* manifest = std::get_if<Manifest>(&record);
    if (manifest == nullptr || !claims_.valid(*manifest)) return true;
    if (options_.from &&
        is_before(manifest->last.commit_lsn, manifest->last.commit_time, *options_.from)) {
      return true;
    }
    if (options_.to && manifest->previous.commit_lsn &&
        !is_before(manifest->previous.commit_lsn, manifest->previous.commit_time, *options_.to)) {
      return false;
    }
    return print_group(*manifest);
  }

 private:
  Result<bool> take_control(LogOffset offset, const ControlRecord& record) {
    if (const auto* manifest = std::get_if<Manifest>(&record)) {
      const Watermark& last = manifest->last;
      if (options_.from && is_before(last.commit_lsn, last.commit_time, *options_.from))
        return true;
      if (options_.to && !is_before(last.commit_lsn, last.commit_time, *options_.to)) return true;
    }
    return print_(wire::control_to_json(record, offset));
  }

  Result<bool> print_group(const Manifest& manifest) {
    TRY(schemas_.load(reader_, manifest.schemas));
    std::vector<Rows> sources;
    for (const OffsetRange& range : manifest.ranges) {
      if (!options_.topic.empty() && range.topic != options_.topic) {
        others_.insert(range.topic);
        continue;
      }
      found_ = true;
      TRY_ASSIGN(auto rows, Rows::open(reader_, range, manifest.token));
      if (!rows.done()) sources.push_back(std::move(rows));
    }
    while (!sources.empty()) {
      size_t first = 0;
      for (size_t i = 1; i < sources.size(); ++i) {
        if (sources[i].header().position < sources[first].header().position) first = i;
      }
      TRY_ASSIGN(const bool more, print_row(sources[first]));
      if (!more) return false;
      TRY(sources[first].advance());
      if (sources[first].done())
        sources.erase(sources.begin() + static_cast<std::ptrdiff_t>(first));
    }
    return true;
  }

  Result<bool> print_row(const Rows& rows) {
    const wire::RowHeader& header = rows.header();
    const Lsn lsn = header.position.commit_lsn;
    if (options_.from && is_before(lsn, header.commit_time, *options_.from)) return true;
    if (options_.to && !is_before(lsn, header.commit_time, *options_.to)) return false;
    batch_.clear();
    const auto lookup = [this](uint64_t fingerprint) { return schemas_.find(fingerprint); };
    TRY(wire::decode_row(rows.record().value, lookup, batch_));
    return print_(wire::change_to_json(batch_.changes().front(), header, rows.place()));
  }

  log::Reader& reader_;
  const LogCatOptions& options_;
  const PrintLine& print_;
  pipeline::ClaimTracker claims_;
  pipeline::SchemaCache schemas_;
  bool found_ = false;  // rows of options_.topic
  std::set<std::string> others_;
  ChangeBatch batch_;
};

ordered_json json_of(const Watermark& at) {
  return {{"position", to_string(at)},
          {"commit_time", at.commit_time.value == 0 ? ordered_json(nullptr)
                                                    : ordered_json(to_string(at.commit_time))}};
}

struct Summary {
  pipeline::ClaimTracker claims;
  uint64_t claimed = 0, schemas = 0, manifests = 0, void_manifests = 0, rows = 0, transactions = 0;
  std::string publisher;
  std::optional<Manifest> first, last;
  struct Range {
    LogOffset start = 0, end = 0;
    uint64_t rows = 0;
  };
  std::map<std::pair<std::string, int32_t>, Range> ranges;

  Result<bool> take(LogOffset offset, const ControlRecord& record) {
    if (const auto* claim = std::get_if<Claim>(&record)) {
      claims.on_claim(offset);
      ++claimed;
      publisher = claim->publisher;
    } else if (std::holds_alternative<SchemaRecord>(record)) {
      ++schemas;
    } else if (const auto& manifest = std::get<Manifest>(record); claims.valid(manifest)) {
      add(manifest);
    } else {
      ++void_manifests;
    }
    return true;
  }

  void add(const Manifest& manifest) {
    ++manifests;
    rows += manifest.rows;
    transactions += manifest.transactions;
    if (!first) first = manifest;
    last = manifest;
    for (const OffsetRange& range : manifest.ranges) {
      auto [at, fresh] =
          ranges.try_emplace({range.topic, range.partition}, Range{range.start, 0, 0});
      at->second.end = range.end;
      at->second.rows += range.rows;
    }
  }
};

}  // namespace

Status log_cat(log::Log& log, const LogCatOptions& options, std::stop_token stop,
               const PrintLine& print) {
  TRY_ASSIGN(const auto reader, log.reader());
  TRY_ASSIGN(const auto bounds, reader->control_bounds());
  uint64_t printed = 0;
  const PrintLine counted = [&](const std::string& line) {
    return print(line) && ++printed != options.limit;
  };
  Cat cat(*reader, options, counted);
  TRY(read_control(
      *reader, bounds, options.follow, stop,
      [&cat](LogOffset offset, const ControlRecord& record) { return cat.take(offset, record); }));
  return cat.check_topic();
}

Result<std::string> log_describe(log::Log& log, std::stop_token stop) {
  TRY_ASSIGN(const auto reader, log.reader());
  TRY_ASSIGN(const auto bounds, reader->control_bounds());
  Summary summary;
  TRY(read_control(*reader, bounds, false, stop,
                   [&summary](LogOffset offset, const ControlRecord& record) {
                     return summary.take(offset, record);
                   }));
  ordered_json out;
  out["log"] = log.describe();
  out["manifest_topic"] = {{"start", bounds.start}, {"end", bounds.end}};
  out["claims"] = summary.claimed;
  out["publisher"] = summary.publisher;
  out["schemas"] = summary.schemas;
  out["manifests"] = summary.manifests;
  out["void_manifests"] = summary.void_manifests;
  out["transactions"] = summary.transactions;
  out["rows"] = summary.rows;
  out["first"] = summary.first ? json_of(summary.first->previous) : ordered_json(nullptr);
  out["last"] = summary.last ? json_of(summary.last->last) : ordered_json(nullptr);
  out["topics"] = ordered_json::array();
  for (const auto& [partition, range] : summary.ranges) {
    out["topics"].push_back({{"topic", partition.first},
                             {"partition", partition.second},
                             {"start", range.start},
                             {"end", range.end},
                             {"rows", range.rows}});
  }
  return out.dump(2, ' ', true, ordered_json::error_handler_t::replace);
}

}  // namespace millrace::cli
