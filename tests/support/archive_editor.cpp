#include "tests/support/archive_editor.hpp"

#include <algorithm>

#include "io/digest.hpp"

namespace hack::testing {

using svd::FileRange;
using svd::Hdf5Id;

namespace {

/// Of a matrix, by HDF5's iteration over /matrices.
herr_t add_ranges(hid_t group, const char* name, const H5L_info_t*, void* ranges) {
  for (const char* dataset : {"bytes", "values"}) {
    const std::string path = std::string(name) + "/" + dataset;
    if (H5Lexists(group, name, H5P_DEFAULT) <= 0 || H5Oexists_by_name(group, name, H5P_DEFAULT) <= 0 ||
        H5Lexists(group, path.c_str(), H5P_DEFAULT) <= 0)
      continue;
    const hid_t id = H5Dopen2(group, path.c_str(), H5P_DEFAULT);
    if (id < 0) continue;
    const FileRange range = svd::range_of(Hdf5Id(id));
    if (range.size > 0) static_cast<std::vector<FileRange>*>(ranges)->push_back(range);
  }
  return 0;
}

}  // namespace

std::vector<FileRange> digested_ranges(const std::filesystem::path& path) {
  const Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  std::vector<FileRange> ranges;
  if (H5Lexists(file.get(), "matrices", H5P_DEFAULT) > 0) {
    const Hdf5Id group(H5Gopen2(file.get(), "matrices", H5P_DEFAULT));
    H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add_ranges, &ranges);
  }
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  const auto is_same = [](const auto& a, const auto& b) { return a.begin == b.begin; };  // of a matrix with two names
  ranges.erase(std::unique(ranges.begin(), ranges.end(), is_same), ranges.end());
  return ranges;
}

void unseal(const std::filesystem::path& path) {
  const std::size_t ranges = svd::check_seal(path).size();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - ranges * sizeof(FileRange) - 24);
}

ArchiveEditor::ArchiveEditor(const std::filesystem::path& path) : path_(path) {
  unseal(path);
  svd::open_file(path);  // switches HDF5's own messages off
  file_ = Hdf5Id(HACK_HDF5(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)));
}

ArchiveEditor::~ArchiveEditor() {
  file_ = Hdf5Id();
  svd::seal_archive(path_, digested_ranges(path_));
}

void ArchiveEditor::set(const char* object, const char* attribute, std::int64_t value) {
  const Hdf5Id owner(HACK_HDF5(H5Oopen(file_.get(), object, H5P_DEFAULT)));
  const Hdf5Id id(HACK_HDF5(H5Aopen(owner.get(), attribute, H5P_DEFAULT)));
  HACK_HDF5(H5Awrite(id.get(), H5T_NATIVE_INT64, &value));
}

void ArchiveEditor::set_real(const char* object, const char* attribute, double value) {
  const Hdf5Id owner(HACK_HDF5(H5Oopen(file_.get(), object, H5P_DEFAULT)));
  const Hdf5Id id(HACK_HDF5(H5Aopen(owner.get(), attribute, H5P_DEFAULT)));
  HACK_HDF5(H5Awrite(id.get(), H5T_NATIVE_DOUBLE, &value));
}

void ArchiveEditor::set_text(const char* attribute, const std::string& value) {
  H5Adelete(file_.get(), attribute);
  svd::write_attribute(file_, attribute, value);
}

void ArchiveEditor::remove(const char* name) { HACK_HDF5(H5Ldelete(file_.get(), name, H5P_DEFAULT)); }

void ArchiveEditor::replace(const char* name, hid_t type, std::vector<hsize_t> shape, bool in_chunks) {
  remove(name);
  const Hdf5Id creation(HACK_HDF5(H5Pcreate(H5P_DATASET_CREATE)));
  const std::vector<hsize_t> chunk(shape.size(), 1);
  if (in_chunks) HACK_HDF5(H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data()));
  HACK_HDF5(H5Pset_alloc_time(creation.get(), in_chunks ? H5D_ALLOC_TIME_INCR : H5D_ALLOC_TIME_LATE));
  const Hdf5Id space(HACK_HDF5(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr)));
  Hdf5Id(HACK_HDF5(H5Dcreate2(file_.get(), name, type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT)));
}

Hdf5Id ArchiveEditor::open(const std::string& dataset) const {
  return Hdf5Id(HACK_HDF5(H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT)));
}

void ArchiveEditor::renew_digests(const std::string& matrix, const std::vector<index_t>& term_offsets) {
  const Hdf5Id dataset = open("matrices/" + matrix + "/bytes");
  std::vector<std::byte> bytes(static_cast<std::size_t>(term_offsets.back()));
  svd::read_range(dataset, H5T_STD_U8LE, 0, term_offsets.back(), bytes.data());
  std::vector<std::uint64_t> digests;
  for (std::size_t t = 0; t + 1 < term_offsets.size(); ++t) {
    const auto begin = static_cast<std::size_t>(term_offsets[t]), end = static_cast<std::size_t>(term_offsets[t + 1]);
    digests.push_back(io::digest64(std::span(bytes).subspan(begin, end - begin)));
  }
  svd::write_range(open("matrices/" + matrix + "/digest"), H5T_STD_U64LE, 0, std::ssize(digests), digests.data());
}

}  // namespace hack::testing
