#include "io/mapped_file.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/error.hpp"

namespace hack::io {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path.string()) {
  const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  validate(file >= 0, "cannot open {} ({})", path_, std::strerror(errno));
  struct stat status {};
  const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  void* data = nullptr;
  int error = 0;
  if (regular && status.st_size > 0) {
    data = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) error = errno;
  }
  if (!regular || error != 0) ::close(file);
  validate(regular, "cannot read {} (not a regular file)", path_);
  validate(error == 0, "cannot map {} ({})", path_, std::strerror(error));
  data_ = static_cast<const std::byte*>(data);
  size_ = static_cast<std::uint64_t>(status.st_size);
  file_ = file;
  if (data_ != nullptr) guard_.emplace(data_, static_cast<std::size_t>(size_), path_);
}

MappedFile::~MappedFile() {
  guard_.reset();
  if (file_ >= 0) ::close(file_);
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), static_cast<std::size_t>(size_));
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      file_(std::exchange(other.file_, -1)),
      guard_(std::exchange(other.guard_, std::nullopt)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(file_, other.file_);
  std::swap(guard_, other.guard_);
  return *this;
}

std::span<const std::byte> MappedFile::bytes(std::uint64_t offset, std::uint64_t size) const {
  validate(offset <= size_ && size <= size_ - offset,
           "{} is cut short or damaged ({} bytes wanted at offset {}, the file has {}) fetch it again", path_, size,
           offset, size_);
  return {data_ + offset, static_cast<std::size_t>(size)};
}

void MappedFile::check_size() const {
  struct stat status {};
  validate(::fstat(file_, &status) == 0 && static_cast<std::uint64_t>(status.st_size) == size_,
           "{} was changed while it was read (it has {} bytes, and had {}); restore it and start again", path_,
           status.st_size, size_);
}

void MappedFile::release(std::span<const std::byte> range) const noexcept {
  if (range.empty()) return;
  // A page fault maps the neighbours in its aligned 64 KiB too: they go as well.
  constexpr std::uint64_t granule = 64 * 1024;
  const auto first = static_cast<std::uint64_t>(range.data() - data_);
  const std::uint64_t begin = first / granule * granule;
  const std::uint64_t end = (first + range.size() + granule - 1) / granule * granule;
  const std::uint64_t length = (end < size_ ? end : size_) - begin;
  ::madvise(const_cast<std::byte*>(data_) + begin, static_cast<std::size_t>(length), MADV_DONTNEED);
}

}  // namespace hack::io
