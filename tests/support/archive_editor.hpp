#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/error.hpp"
#include "svd/archive/hdf5.hpp"

namespace hack::testing {

/// Takes the seal off an archive.
void unseal(const std::filesystem::path& path);

/// Where the datasets lie whose bytes have digests of their own.
std::vector<svd::FileRange> digested_ranges(const std::filesystem::path& path);

/// Changes things in an archive, and seals it again: what hostile hands would do. An Error where HDF5 refuses.
class ArchiveEditor {
 public:
  explicit ArchiveEditor(const std::filesystem::path& path);
  ArchiveEditor(const ArchiveEditor&) = delete;
  ArchiveEditor& operator=(const ArchiveEditor&) = delete;
  ~ArchiveEditor();

  void set(const char* object, const char* attribute, std::int64_t value);
  void set_real(const char* object, const char* attribute, double value);
  void set_text(const char* attribute, const std::string& value);
  /// Sets one number of a dataset, counted row by row.
  template <class T>
  void set_number(const std::string& dataset, hid_t type, index_t at, T value) {
    const svd::Hdf5Id of = open(dataset);
    if (svd::shape_of(of).empty()) fail("{} is a single number", dataset);
    svd::write_range(of, type, at, 1, &value);
  }
  template <class T>
  void set_first(const char* dataset, hid_t type, T value) {
    set_number(dataset, type, 0, value);
  }
  void remove(const char* name);
  /// Puts a dataset of another shape or type, without data, in place of one.
  void replace(const char* name, hid_t type, std::vector<hsize_t> shape, bool in_chunks = false);
  /// Sets the digests of a matrix's terms, whose sizes are these, to those of the bytes that it has now.
  void renew_digests(const std::string& matrix, const std::vector<index_t>& term_offsets);

  svd::Hdf5Id open(const std::string& dataset) const;
  const svd::Hdf5Id& file() const { return file_; }

 private:
  std::filesystem::path path_;
  svd::Hdf5Id file_;
};

}  // namespace hack::testing
