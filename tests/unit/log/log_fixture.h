// Short ways to write and read a log in tests.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include "relay/log/log.h"

namespace millrace::log::contract {

template <typename T>
T must(Result<T> result) {
  if (!result) FAIL(result.error().describe());
  return std::move(*result);
}

inline void must(const Status& status) {
  if (!status) FAIL(status.error().describe());
}

struct Rows {
  std::vector<std::pair<std::string, std::string>> records;  // key, value
  std::vector<LogOffset> offsets;
};

// Everything that is reported until `groups` and `controls` are all in.
struct Reports {
  std::map<GroupId, std::vector<OffsetRange>> groups;
  std::vector<ControlDurable> controls;
  std::vector<GroupId> order;

  void add(const std::vector<ProducerEvent>& events) {
    for (const ProducerEvent& event : events) {
      if (const auto* group = std::get_if<GroupDurable>(&event)) {
        groups[group->group] = group->ranges;
        order.push_back(group->group);
      } else {
        controls.push_back(std::get<ControlDurable>(event));
      }
    }
  }

  void wait(Producer& producer, size_t group_count, size_t control_count) {
    const SteadyTime until = system_clock().now() + Millis(300'000);
    while (groups.size() < group_count || controls.size() < control_count) {
      REQUIRE(system_clock().now() < until);
      add(must(producer.poll(Millis(1000))));
    }
  }
};

// As the publisher does it: a full queue is waited for.
inline void append(Producer& producer, Reports& reports, GroupId group, const std::string& topic,
                   std::string_view key, std::string_view value) {
  while (!must(producer.append(group, topic, key, value)))
    reports.add(must(producer.poll(Millis(1000))));
}

inline Rows read(Reader& reader, const OffsetRange& range) {
  Rows rows;
  auto cursor = must(reader.open(range));
  while (auto record = must(cursor->next())) {
    rows.records.emplace_back(record->key, record->value);
    rows.offsets.push_back(record->offset);
  }
  return rows;
}

inline LogOffset append_control(Producer& producer, std::string_view value) {
  Reports reports;
  must(producer.append_control(99, value));
  reports.wait(producer, 0, 1);
  return reports.controls[0].offset;
}

}  // namespace millrace::log::contract
