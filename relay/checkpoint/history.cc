#include "relay/checkpoint/history.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "relay/checkpoint/entry_codec.h"

namespace millrace::checkpoint {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr TimeMicros kBeginning{std::numeric_limits<int64_t>::min()};

int64_t bucket_of(TimeMicros at, int64_t bucket_us) {
  const int64_t bucket = at.value / bucket_us;
  return at.value % bucket_us < 0 ? bucket - 1 : bucket;
}

// The smallest key above `key`.
std::string after(std::string key) {
  key.push_back('\0');
  return key;
}

// The end of a scan backwards from everything that begins with `prefix` or sorts below: `end` at
// most.
std::string end_of(const std::string& prefix, const std::string& end) {
  std::string key = prefix;
  while (!key.empty() && static_cast<uint8_t>(key.back()) == 0xFF) key.pop_back();
  if (key.empty()) return end;
  key.back() = static_cast<char>(static_cast<uint8_t>(key.back()) + 1);
  return std::min(key, end);
}

}  // namespace

History::History(Database& db, size_t entries_max)
    : db_(db),
      entries_max_(entries_max),
      seconds_{kHour, kSecond, {}, {}},
      minutes_{kDay, kMinute, {}, {}},
      expired_{30 * kDay, 0, {}, {}} {}

Status History::add(const Entry& entry, std::vector<Write>& batch) const {
  const std::string key = encode_key(position_of(entry));
  TRY_ASSIGN(const auto old, db_.get(Family::history, key));
  if (old) {
    auto decoded = decode_entry(*old);
    if (!decoded) return db_.located(std::move(decoded).error());
    batch.push_back({Family::history, encode_key(time_of(*decoded)), std::nullopt});
  }
  batch.push_back({Family::history, key, encode_entry(entry)});
  batch.push_back({Family::history, encode_key(time_of(entry)), std::string()});
  return {};
}

Result<size_t> History::thin(TimeMicros now, size_t steps) {
  // Two keys an entry. The estimate is rough, and good enough to bound the folder's size.
  const bool crowded = db_.estimated_keys(Family::history) / 2 > entries_max_;
  TRY_ASSIGN(const size_t expired, thin(expired_, now, expired_.age_us, steps));
  TRY_ASSIGN(const size_t minutes, thin(minutes_, now, minutes_.age_us, steps));
  TRY_ASSIGN(const size_t seconds, thin(seconds_, now, crowded ? kMinute : seconds_.age_us, steps));
  return expired + minutes + seconds;
}

Result<size_t> History::thin(Band& band, TimeMicros now, int64_t age_us, size_t steps) {
  if (now.value < kBeginning.value + age_us) return 0;
  const std::string from = band.cursor.empty() ? first_time_key(kBeginning) : after(band.cursor);
  const std::string end = first_time_key({now.value - age_us});
  if (from >= end) return 0;
  std::vector<Write> batch;
  bool damaged = false;
  size_t looked_at = 0;
  const auto visit = [&](std::string_view key, std::string_view) {
    if (looked_at++ == steps) return false;
    const auto decoded = decode_time_key(key);
    damaged = !decoded;
    if (damaged) return false;
    band.cursor = key;
    if (band.bucket_us != 0) {
      const int64_t bucket = bucket_of(decoded->at, band.bucket_us);
      if (band.kept != bucket) {
        band.kept = bucket;
        return true;
      }
    }
    batch.push_back({Family::history, std::string(key), std::nullopt});
    batch.push_back({Family::history, encode_key(decoded->position), std::nullopt});
    return true;
  };
  TRY(db_.scan(Family::history, from, end, Direction::forward, visit));
  if (damaged) return db_.damaged("a key of the history");
  if (!batch.empty()) TRY(db_.write(batch, false));
  return batch.size() / 2;
}

Result<std::optional<Entry>> History::follow(std::string_view time_key) const {
  const auto key = decode_time_key(time_key);
  if (!key) return db_.damaged("a key of the history");
  TRY_ASSIGN(const auto value, db_.get(Family::history, encode_key(key->position)));
  if (!value) return std::optional<Entry>();
  auto entry = decode_entry(*value);
  if (!entry) return db_.located(std::move(entry).error());
  return std::optional<Entry>(std::move(*entry));
}

Result<std::vector<Entry>> History::between(const Place& from, const Place& to,
                                            size_t limit) const {
  std::vector<Entry> found;
  if (!(from < to) || limit == 0) return found;
  Status problem;
  const auto visit = [&](std::string_view, std::string_view value) {
    auto entry = decode_entry(value);
    if (!entry) {
      problem = db_.located(std::move(entry).error());
      return false;
    }
    found.push_back(std::move(*entry));
    return found.size() < limit;
  };
  TRY(db_.scan(Family::history, first_position_key(from), first_position_key(to),
               Direction::backward, visit));
  TRY(std::move(problem));
  std::reverse(found.begin(), found.end());
  return found;
}

Result<std::vector<Entry>> History::between(TimeMicros from, TimeMicros to, size_t limit) const {
  std::vector<Entry> found;
  if (!(from < to) || limit == 0) return found;
  Status problem;
  const auto visit = [&](std::string_view key, std::string_view) {
    auto entry = follow(key);
    if (!entry) {
      problem = fail(std::move(entry).error());
      return false;
    }
    if (*entry) found.push_back(std::move(**entry));
    return found.size() < limit;
  };
  TRY(db_.scan(Family::history, first_time_key(from), first_time_key(to), Direction::backward,
               visit));
  TRY(std::move(problem));
  std::reverse(found.begin(), found.end());
  return found;
}

Result<std::optional<Entry>> History::last_at(const Place& place) const {
  std::optional<Entry> found;
  Status problem;
  const auto visit = [&](std::string_view, std::string_view value) {
    auto entry = decode_entry(value);
    if (!entry) {
      problem = db_.located(std::move(entry).error());
    } else {
      found = std::move(*entry);
    }
    return false;
  };
  TRY(db_.scan(Family::history, first_position_key({}),
               end_of(first_position_key(place), position_keys_end()), Direction::backward, visit));
  TRY(std::move(problem));
  return found;
}

Result<std::optional<Entry>> History::last_at(TimeMicros at) const {
  std::optional<Entry> found;
  Status problem;
  const auto visit = [&](std::string_view key, std::string_view) {
    auto entry = follow(key);
    if (!entry) {
      problem = fail(std::move(entry).error());
      return false;
    }
    found = std::move(*entry);
    return !found;
  };
  TRY(db_.scan(Family::history, first_time_key(kBeginning),
               end_of(first_time_key(at), time_keys_end()), Direction::backward, visit));
  TRY(std::move(problem));
  return found;
}

}  // namespace millrace::checkpoint
