#include "relay/pipeline/letters.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "relay/pipeline/letter_codec.h"
#include "relay/sink/planner.h"

namespace millrace::pipeline {
namespace {

using sink::Letter;

constexpr uint64_t kBytesMax = uint64_t{8} << 20;

// One transaction's worth of a chain.
struct Slice {
  std::vector<int64_t> chain;  // as it was found
  uint64_t applied = 0;
  uint64_t left = 0;
  bool conflict = false;  // as a whole it does not go: try in order
  std::optional<std::pair<Letter, Error>> failed;
};

class Retry {
 public:
  Retry(sink::Target& target, const Letter& letter, size_t letters_max)
      : target_(target), box_(*target.letters()), letter_(letter), letters_max_(letters_max) {}

  // Applies the chain's first letters, in a transaction of their own.
  Result<Slice> run(bool in_order) {
    Slice slice;
    TRY(box_.begin_edit(letter_.epoch));
    // Looked up again now that the applier waits: it may have added some.
    TRY_ASSIGN(const auto chain, chain_of_letter());
    for (const Letter& letter : chain) slice.chain.push_back(letter.id);
    std::vector<int64_t> ids;
    uint64_t bytes = 0;
    for (const Letter& letter : chain) {
      bytes += letter.bytes;
      const bool full = ids.size() >= letters_max_ || bytes > kBytesMax;
      if (!ids.empty() && (full || letter.epoch != chain.front().epoch)) break;
      ids.push_back(letter.id);
    }
    if (!chain.empty() && chain.front().epoch != letter_.epoch) {
      target_.rollback();
      letter_ = chain.front();
      return run(in_order);
    }
    TRY_ASSIGN(const auto letters, box_.read(ids));
    ChangeBatch batch;
    for (const Letter& letter : letters) TRY(decode_letter(letter, batch));
    size_t done = 0;
    Status written = in_order ? in_order_up_to(batch.changes(), done) : as_a_whole(batch.changes());
    if (!written && !is_the_rows_fault(written.error())) return fail(written.error());
    if (written) done = ids.size();
    if (done > 0 && (written || in_order)) {
      TRY(box_.remove(std::span(ids).first(done)));
      if (auto committed = target_.commit(); !committed) {
        if (!is_the_rows_fault(committed.error())) return fail(committed.error());
        written = std::move(committed);
        done = 0;
      }
    } else {
      done = 0;
      target_.rollback();
    }
    slice.applied = done;
    slice.left = chain.size() - done;
    slice.conflict = !written && !in_order;
    if (!written && in_order) {
      slice.failed.emplace(letters[done], written.error());
      TRY(box_.failed_again(letters[done].id, written.error().describe()));
    }
    return slice;
  }

 private:
  // Tables without a key have no order: each letter is alone.
  Result<std::vector<Letter>> chain_of_letter() {
    if (!letter_.key_columns.empty()) return box_.chain(letter_);
    const int64_t ids[] = {letter_.id};
    return box_.read(ids);
  }

  static bool is_the_rows_fault(const Error& error) {
    return error.code() == ErrorCode::rejected || error.code() == ErrorCode::bad_data ||
           error.code() == ErrorCode::conflict;
  }

  Status as_a_whole(std::span<const Change> changes) {
    TRY_ASSIGN(const auto plans, planner_.plan(changes));
    for (const sink::BatchPlan& plan : plans) TRY(target_.write(plan, false));
    return {};
  }

  Status in_order_up_to(std::span<const Change> changes, size_t& done) {
    for (; done < changes.size(); ++done) {
      TRY_ASSIGN(const auto plans, planner_.plan(changes.subspan(done, 1)));
      for (const sink::BatchPlan& plan : plans) {
        Status status = target_.write(plan, true);
        if (status) continue;
        // Anything else has ended the transaction, and what went before it.
        if (status.error().code() != ErrorCode::rejected) done = 0;
        return status;
      }
    }
    return {};
  }

  sink::Target& target_;
  sink::LetterBox& box_;
  Letter letter_;
  const size_t letters_max_;
  sink::Planner planner_;
};

// `seen`: letters that were applied, or are left behind one that failed.
Status retry_chain(sink::Target& target, const Letter& letter, size_t letters_max,
                   RetryOutcome& outcome, std::unordered_set<int64_t>& seen) {
  Retry retry(target, letter, letters_max);
  while (true) {
    TRY_ASSIGN(Slice slice, retry.run(false));
    if (slice.conflict) {
      TRY_ASSIGN(slice, retry.run(true));
    }
    outcome.applied += slice.applied;
    const size_t gone = slice.failed ? slice.chain.size() : slice.applied;
    seen.insert(slice.chain.begin(), slice.chain.begin() + static_cast<ptrdiff_t>(gone));
    if (slice.failed) {
      outcome.stuck.push_back({slice.failed->first, slice.failed->second, slice.left});
      return {};
    }
    if (slice.left == 0) return {};
  }
}

}  // namespace

std::vector<size_t> chain_heads(std::span<const Letter> letters) {
  std::vector<size_t> head(letters.size());
  std::unordered_map<std::string, size_t> by_key;
  const auto find = [&head](size_t at) {
    while (head[at] != at) at = head[at] = head[head[at]];
    return at;
  };
  for (size_t i = 0; i < letters.size(); ++i) {
    head[i] = i;
    if (letters[i].key_columns.empty()) continue;
    const auto join = [&](const std::string& key) {
      const auto [known, fresh] = by_key.emplace(letters[i].table + '\0' + key, i);
      if (fresh) return;
      const size_t a = find(known->second);
      const size_t b = find(i);
      head[std::max(a, b)] = std::min(a, b);
    };
    join(letters[i].key);
    if (letters[i].old_key) join(*letters[i].old_key);
  }
  for (size_t i = 0; i < letters.size(); ++i) head[i] = find(i);
  return head;
}

Result<RetryOutcome> retry_letters(sink::Target& target, std::span<const Letter> letters,
                                   size_t letters_max) {
  std::vector<Letter> rest(letters.begin(), letters.end());
  RetryOutcome outcome;
  while (!rest.empty()) {
    const uint64_t before = outcome.applied;
    outcome.stuck.clear();
    // A chain that goes in several transactions may fall apart between them: so each letter is
    // asked after.
    std::unordered_set<int64_t> seen;
    for (const Letter& letter : rest) {
      if (!seen.contains(letter.id)) {
        TRY(retry_chain(target, letter, letters_max, outcome, seen));
      }
    }
    if (outcome.applied == before || outcome.stuck.empty()) break;
    rest.clear();
    for (const Stuck& stuck : outcome.stuck) rest.push_back(stuck.letter);
  }
  return outcome;
}

Result<uint64_t> drop_letters(sink::Target& target, std::span<const Letter> letters,
                              const std::string& who, const std::string& why) {
  sink::LetterBox& box = *target.letters();
  TRY(box.begin_edit(1));
  uint64_t dropped = 0;
  for (const Letter& letter : letters) {
    const int64_t ids[] = {letter.id};
    TRY_ASSIGN(const auto there, box.read(ids));
    if (there.empty()) continue;
    TRY(box.journal(who, "dropped letter " + std::to_string(letter.id) + ": " +
                             std::string(to_string(letter.op)) + " of " + letter.table + " " +
                             letter.key_json + " at " + to_string(letter.position) +
                             (letter.error.empty() ? "" : ", rejected: " + letter.error) +
                             (why.empty() ? "" : "; " + why)));
    TRY(box.remove(ids));
    ++dropped;
  }
  TRY(target.commit());
  return dropped;
}

}  // namespace millrace::pipeline
