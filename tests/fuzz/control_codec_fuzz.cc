// Any bytes as a control record: no crash, and what is accepted means the same after another round
// trip.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>

#include "relay/wire/control_codec.h"
#include "relay/wire/json.h"

namespace {

using namespace millrace;

void require(bool holds) {
  if (!holds) std::abort();
}

auto fields(const Watermark& w) {
  return std::tuple(w.timeline, w.end_lsn.value, w.commit_lsn.value, w.commit_time.value);
}

bool same(const Claim& a, const Claim& b) {
  return a.publisher == b.publisher && a.system_identifier == b.system_identifier &&
         a.timeline == b.timeline && a.slot == b.slot && a.at.value == b.at.value;
}

bool same(const SchemaRecord& a, const SchemaRecord& b) {
  return a.token == b.token && a.schema->fingerprint == b.schema->fingerprint &&
         a.schema->relation_oid == b.schema->relation_oid &&
         a.schema->columns.size() == b.schema->columns.size();
}

bool same(const Manifest& a, const Manifest& b) {
  return a.token == b.token && a.epoch == b.epoch && a.system_identifier == b.system_identifier &&
         fields(a.previous) == fields(b.previous) && fields(a.last) == fields(b.last) &&
         a.origin == b.origin && a.transactions == b.transactions && a.rows == b.rows &&
         a.ranges == b.ranges && a.schemas == b.schemas &&
         a.published_at.value == b.published_at.value;
}

// What a reader of the log leans on.
void check(const Manifest& manifest) {
  for (const OffsetRange& range : manifest.ranges) {
    require(range.partition >= 0 && range.start >= 0 && range.end >= range.start);
    require(range.rows <= static_cast<uint64_t>(range.end - range.start));
  }
  for (const SchemaRef& schema : manifest.schemas) require(schema.offset >= 0);
  (void)describe(manifest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto record = wire::decode_control({reinterpret_cast<const char*>(data), size});
  if (!record) return 0;
  if (const auto* manifest = std::get_if<Manifest>(&*record)) check(*manifest);
  const std::string once = wire::encode_control(*record);
  const auto again = wire::decode_control(once);
  require(again.has_value() && again->index() == record->index());
  std::visit(
      [&](const auto& read) {
        require(same(read, std::get<std::decay_t<decltype(read)>>(*again)));
      },
      *record);
  require(wire::encode_control(*again) == once);
  const std::string json = wire::control_to_json(*record, 0);
  require(std::all_of(json.begin(), json.end(), [](char c) { return c >= ' ' && c < '\x7F'; }));
  return 0;
}
