package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gilliam/hypervisor/rootfs"
)

// Images is what is read of the images; *rootfs.Images has it.
type Images interface {
	Counts() rootfs.ImageCounts
	List() ([]rootfs.StoredImage, error)
}

var (
	fetchesDesc   = desc("gilliam_image_fetches_total", "Image fetches, by outcome: hit needed no transfer.", "outcome")
	fetchedDesc   = desc("gilliam_image_fetched_bytes_total", "Bytes of images received, compressed.")
	imagesDesc    = desc("gilliam_images", "Images in the cache, by whether a proc uses them.", "in_use")
	imageDiskDesc = desc("gilliam_image_cache_bytes", "Bytes of the disk that images take, by whether a proc uses them.", "in_use")
	evictedDesc   = desc("gilliam_image_evictions_total", "Images removed from the cache to make room.")
	damagedDesc   = desc("gilliam_image_damaged_total", "Images set aside because they were not what had been unpacked.")
	healsDesc     = desc("gilliam_image_heals_total", "Fetches of images set aside, for whoever found the damage, by outcome.", "outcome")
	staleDesc     = desc("gilliam_image_stale_total", "Fetches answered from the cache because the image's server could not be asked.")
)

var imageDescs = []*prometheus.Desc{fetchesDesc, fetchedDesc, imagesDesc, imageDiskDesc, evictedDesc, damagedDesc, healsDesc, staleDesc}

// cache tells what there is of images.
func (c *collector) cache(ch chan<- prometheus.Metric) {
	n := c.images.Counts()
	outcomes(ch, fetchesDesc, map[string]uint64{"hit": n.Hits, "fetched": n.Fetched, "failed": n.Failed})
	ch <- counter(fetchedDesc, float64(n.Bytes))
	ch <- counter(evictedDesc, float64(n.Evicted))
	ch <- counter(damagedDesc, float64(n.Quarantined))
	outcomes(ch, healsDesc, map[string]uint64{"fetched": n.Healed, "failed": n.Unhealed})
	ch <- counter(staleDesc, float64(n.Stale))
	list, err := c.images.List()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(imagesDesc, err)
		return
	}
	images, disk := map[bool]float64{}, map[bool]float64{}
	for _, one := range list {
		used := len(one.UsedBy) > 0
		images[used]++
		disk[used] += float64(one.Disk)
	}
	for _, used := range []bool{false, true} {
		ch <- gauge(imagesDesc, images[used], strconv.FormatBool(used))
		ch <- gauge(imageDiskDesc, disk[used], strconv.FormatBool(used))
	}
}
