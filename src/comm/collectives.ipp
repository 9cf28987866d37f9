#pragma once

#include <cstring>
#include <type_traits>

namespace hack::comm {

enum class Receivers { all, root };

std::vector<std::byte> gather_bytes(const Communicator& comm, std::span<const std::byte> mine, Receivers receivers);

template <class T>
std::vector<T> gather_items(const Communicator& comm, std::span<const T> mine, Receivers receivers) {
  static_assert(std::is_trivially_copyable_v<T>);
  const std::vector<std::byte> bytes = gather_bytes(comm, std::as_bytes(mine), receivers);
  std::vector<T> items(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(items.data(), bytes.data(), bytes.size());
  return items;
}

template <class T>
std::vector<T> all_gather(const Communicator& comm, std::span<const T> mine) {
  return gather_items(comm, mine, Receivers::all);
}

template <class T>
std::vector<T> gather(const Communicator& comm, std::span<const T> mine) {
  return gather_items(comm, mine, Receivers::root);
}

}  // namespace hack::comm
