#include "kernels/cpu/memory/page_pool.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <sys/mman.h>

namespace hack::kernels {
namespace {

constexpr std::size_t page = std::size_t{2} << 20;
constexpr std::size_t chunk = std::size_t{256} << 20;  // of address space: memory is used as it is touched
constexpr std::size_t kept = std::size_t{32} << 20;    // shorter free ranges keep their pages, for what comes next
constexpr std::size_t grain = 128;                     // two cache lines, which are fetched as a pair

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

char* page_at_or_above(char* address) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  return address + (round_up(number, page) - number);
}

}  // namespace

PagePool& PagePool::instance() {
  static PagePool* pool = new PagePool;  // outlives every static buffer
  return *pool;
}

bool PagePool::add_chunk(std::size_t bytes) {
  const std::size_t size = std::max(chunk, round_up(bytes, page));
  void* mapped = mmap(nullptr, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return false;
  char* begin = page_at_or_above(static_cast<char*>(mapped));
  madvise(begin, size, MADV_HUGEPAGE);  // refused where the kernel has none: small pages serve, too
  free_.emplace(begin, size);
  return true;
}

void* PagePool::take(std::size_t bytes) {
  const std::size_t size = round_up(std::max(bytes, grain), grain);
  const std::lock_guard lock(mutex_);
  const auto fits = [size](const auto& range) { return range.second >= size; };
  auto range = std::find_if(free_.begin(), free_.end(), fits);
  if (range == free_.end()) {
    if (!add_chunk(size)) return nullptr;
    range = std::find_if(free_.begin(), free_.end(), fits);
  }
  char* piece = range->first;
  const std::size_t left = range->second - size;
  free_.erase(range);
  if (left > 0) free_.emplace(piece + size, left);
  used_.emplace(piece, size);
  return piece;
}

bool PagePool::give_back(void* piece) noexcept {
  const std::lock_guard lock(mutex_);
  const auto used = used_.find(static_cast<char*>(piece));
  if (used == used_.end()) return false;
  char* begin = used->first;
  char* end = begin + used->second;
  char* joined_begin = begin;
  char* joined_end = end;
  auto node = used_.extract(used);  // its memory becomes that of the free range: nothing is allocated here
  const auto above = free_.lower_bound(begin);
  if (above != free_.end() && above->first == end) {
    joined_end = above->first + above->second;
    free_.erase(above);
  }
  const auto next = free_.lower_bound(begin);
  if (next != free_.begin()) {
    const auto below = std::prev(next);
    if (below->first + below->second == begin) {
      joined_begin = below->first;
      free_.erase(below);
    }
  }
  if (static_cast<std::size_t>(joined_end - joined_begin) >= kept) release_pages(joined_begin, joined_end);
  node.key() = joined_begin;
  node.mapped() = static_cast<std::size_t>(joined_end - joined_begin);
  free_.insert(std::move(node));
  return true;
}

void PagePool::release_pages(char* begin, char* end) noexcept {
  char* first = page_at_or_above(begin);
  const auto last = reinterpret_cast<std::uintptr_t>(end) / page * page;
  const auto from = reinterpret_cast<std::uintptr_t>(first);
  if (last > from) madvise(first, last - from, MADV_DONTNEED);
}

}  // namespace hack::kernels
