#include "tests/sim/fiber.h"

#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace millrace::sim {
namespace {

constexpr size_t kStackBytes = 1U << 20;

// Stacks go from fiber to fiber: mapping one costs more than a short history.
class Stacks {
 public:
  void* take() {
    if (!free_.empty()) {
      void* stack = free_.back();
      free_.pop_back();
      return stack;
    }
    void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) std::abort();
    return stack;
  }
  void give(void* stack) { free_.push_back(stack); }
  ~Stacks() {
    for (void* stack : free_) munmap(stack, kStackBytes);
  }

 private:
  std::vector<void*> free_;
};

Stacks& stacks() {
  static Stacks instance;
  return instance;
}

}  // namespace

struct Fiber::Context {
  std::function<void()> body;
  void* stack = nullptr;
  ucontext_t inside{};
  ucontext_t outside{};
  bool finished = false;
  // The sanitizers must know whose stack it is.
  void* fake_inside = nullptr;
  void* fake_outside = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_size = 0;
  void* tsan_inside = nullptr;
  void* tsan_outside = nullptr;

  void leave_outside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_outside, stack, kStackBytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(tsan_inside, 0);
#endif
  }
  void back_outside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_outside, nullptr, nullptr);
#endif
  }
  void leave_inside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(finished ? nullptr : &fake_inside, outside_bottom, outside_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(tsan_outside, 0);
#endif
  }
  void back_inside() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_inside, &outside_bottom, &outside_size);
#endif
  }
};

Fiber::Fiber(std::function<void()> body) : context_(std::make_unique<Context>()) {
  context_->body = std::move(body);
  context_->stack = stacks().take();
  getcontext(&context_->inside);
  context_->inside.uc_stack.ss_sp = context_->stack;
  context_->inside.uc_stack.ss_size = kStackBytes;
  context_->inside.uc_link = nullptr;
  const auto address = reinterpret_cast<uintptr_t>(context_.get());
  makecontext(&context_->inside, reinterpret_cast<void (*)()>(&Fiber::enter), 2,
              static_cast<unsigned>(address >> 32), static_cast<unsigned>(address));
#if defined(__SANITIZE_THREAD__)
  context_->tsan_inside = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  if (!context_->finished) std::abort();
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(context_->tsan_inside);
#endif
  stacks().give(context_->stack);
}

void Fiber::enter(unsigned high, unsigned low) {
  auto* context = reinterpret_cast<Context*>((static_cast<uintptr_t>(high) << 32) | low);
  context->back_inside();
  context->body();
  context->body = nullptr;
  context->finished = true;
  context->leave_inside();
  setcontext(&context->outside);
}

void Fiber::resume() {
#if defined(__SANITIZE_THREAD__)
  context_->tsan_outside = __tsan_get_current_fiber();
#endif
  context_->leave_outside();
  swapcontext(&context_->outside, &context_->inside);
  context_->back_outside();
}

void Fiber::yield() {
  context_->leave_inside();
  swapcontext(&context_->inside, &context_->outside);
  context_->back_inside();
}

bool Fiber::finished() const { return context_->finished; }

}  // namespace millrace::sim
