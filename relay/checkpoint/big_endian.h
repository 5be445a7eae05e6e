// Writer and Reader: numbers of this folder's keys and values, big-endian, so that the byte order
// of a key is its meaning's. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::checkpoint {

// Appends big-endian numbers and length-prefixed texts.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  template <typename T>
  Writer& number(T value) {
    for (size_t i = sizeof(T); i-- > 0;) {
      out_.push_back(static_cast<char>(static_cast<uint8_t>(value >> (8 * i))));
    }
    return *this;
  }
  // A signed number whose bytes sort as it does.
  Writer& sortable(int64_t value) { return number(static_cast<uint64_t>(value) ^ (1ULL << 63)); }
  Writer& text(std::string_view bytes) {
    number(static_cast<uint32_t>(bytes.size()));
    out_.append(bytes);
    return *this;
  }

 private:
  std::string& out_;
};

// Reads the same; after a read beyond the end ok() is false and every value is zero.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  template <typename T>
  T number() {
    T value = 0;
    for (const char c : take(sizeof(T))) {
      value = static_cast<T>(static_cast<uint64_t>(value) << 8 | static_cast<uint8_t>(c));
    }
    return value;
  }
  int64_t sortable() { return static_cast<int64_t>(number<uint64_t>() ^ (1ULL << 63)); }
  std::string text() { return std::string(take(number<uint32_t>())); }

  bool ok() const { return ok_; }
  size_t left() const { return in_.size(); }
  bool done() const { return ok_ && in_.empty(); }

 private:
  std::string_view take(size_t bytes) {
    if (!ok_ || bytes > in_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = in_.substr(0, bytes);
    in_.remove_prefix(bytes);
    return taken;
  }

  std::string_view in_;
  bool ok_ = true;
};

}  // namespace millrace::checkpoint
