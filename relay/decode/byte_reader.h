// ByteReader: bounds-checked big-endian reads over bytes that a server sent.
//
// Invariant: never reads outside the view. The first read that does not fit fails the reader for
// good: every later read gives zero or an empty view, so that a parser checks ok() once, at its
// end. One thread; views point into the bytes given to the constructor.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace millrace::decode {

class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes)
      : begin_(bytes.data()), at_(begin_), end_(begin_ + bytes.size()) {}

  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }

  std::string_view bytes(size_t count) {
    if (!take(count)) return {};
    return {at_ - count, count};
  }

  // Up to a NUL, which is read too and is not part of the view. Fails when there is no NUL.
  std::string_view c_string() {
    const size_t most = left();
    const void* nul = most == 0 ? nullptr : std::memchr(at_, 0, most);
    if (nul == nullptr) {
      fail(most + 1);
      return {};
    }
    const auto length = static_cast<size_t>(static_cast<const char*>(nul) - at_);
    const std::string_view text(at_, length);
    at_ += length + 1;
    return text;
  }

  bool ok() const { return ok_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  size_t offset() const { return static_cast<size_t>(at_ - begin_); }
  // Where the read that failed began, and how many bytes it wanted.
  size_t failed_at() const { return failed_at_; }
  size_t failed_wanted() const { return failed_wanted_; }

 private:
  bool take(size_t count) {
    if (count > left()) [[unlikely]] {
      fail(count);
      return false;
    }
    at_ += count;
    return true;
  }

  template <typename Number>
  Number number() {
    if (!take(sizeof(Number))) return 0;
    Number value = 0;
    std::memcpy(&value, at_ - sizeof(Number), sizeof(Number));
    if constexpr (std::endian::native == std::endian::big || sizeof(Number) == 1) {
      return value;
    } else if constexpr (sizeof(Number) == 2) {
      return __builtin_bswap16(value);
    } else if constexpr (sizeof(Number) == 4) {
      return __builtin_bswap32(value);
    } else {
      return __builtin_bswap64(value);
    }
  }

  void fail(size_t wanted) {
    if (!ok_) return;
    ok_ = false;
    failed_at_ = offset();
    failed_wanted_ = wanted;
    at_ = end_;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  bool ok_ = true;
  size_t failed_at_ = 0;
  size_t failed_wanted_ = 0;
};

}  // namespace millrace::decode
